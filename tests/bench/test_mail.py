"""The mail server of the benchmark replies late, to groups of commands too, and counts what it accepts."""

import socket
import time

from bench import report
from bench.mail import FAR_MS, MailFigures, MailRow
from bench.mail_sink import Sink

GROUP = b"EHLO x\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nDATA\r\n"


def test_each_group_of_commands_takes_the_latency_once_and_messages_are_counted():
    server = Sink(latency_ms=200)
    try:
        with socket.create_connection(("127.0.0.1", server.port)) as client, client.makefile("rb") as replies:
            codes = [replies.readline()[:3]]
            began = time.monotonic()
            client.sendall(GROUP)
            codes += [replies.readline()[:3] for _ in range(5)]
            client.sendall(b"Subject: x\r\n\r\n250 text\r\n.\r\nQUIT\r\n")
            codes += [replies.readline()[:3] for _ in range(2)]
            took = time.monotonic() - began
    finally:
        accepted = server.stop()
    assert codes == [b"220", b"250", b"250", b"250", b"250", b"354", b"250", b"221"]
    assert took >= 0.4
    assert accepted == 1


def test_the_target_is_judged_far_from_the_mail_server():
    def row(system, latency, per_second):
        return MailRow(system, latency, MailFigures(per_second, 1.0, 1.0, 1.0, 1.0))

    judged = report.verdicts([], {}, [row("satsuma", 0, 999), row("before", FAR_MS, 999), row("satsuma", FAR_MS, 199)])
    assert [(verdict.value, verdict.reached) for verdict in judged] == [(199, False)]
