"""A mail server that accepts groups of commands, and whose replies are scripted one by one."""

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

_REPLIES = {
    "greeting": "220 ready",
    "EHLO": "250-ready\r\n250-SIZE 1000000\r\n250 PIPELINING",
    "DATA": "354 go on",
}


class PipeliningMailServer:
    """A server that replies to each command in turn, as the RFCs want it, unless a test scripts another reply.

    scripted: replies instead of the usual ones, by phase, used up one after the other.
    closes_after: the number of replies after which it closes the first connection.
    """

    def __init__(self) -> None:
        self.scripted: dict[str, list[str]] = {}
        self.closes_after: int | None = None
        self.chunk_size = 1_000  # bytes of a reply that are sent at once
        self.delay = 0.0  # seconds before each reply
        self.awaits_next_envelope = False  # whether it replies to a content only when the next envelope is here
        self.commands: list[str] = []
        self.contents: list[bytes] = []
        self.leftover = b""  # of a content that did not end
        self.confirmed: list[str] = []  # the Message-IDs whose content was replied to with 250

    def serve(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:  # the test has ended
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with connection, connection.makefile("rb") as lines, suppress(OSError):  # the client has gone
                self._converse(connection, lines)
                connection.shutdown(socket.SHUT_WR)
                for _ in lines:  # what it leaves unread must not reset the connection
                    pass

    def _converse(self, connection: socket.socket, lines: BinaryIO) -> None:
        phase, replies_left, has_recipient = "greeting", self.closes_after, False
        self.closes_after = None
        while True:
            if replies_left == 0:
                return
            replies_left = replies_left - 1 if replies_left is not None else None
            reply = self._choose_reply(phase, has_recipient)
            has_recipient = reply.startswith("250") if phase == "RCPT" else has_recipient and phase != "RSET"
            self._send(connection, reply + "\r\n")
            if phase == "content" and reply.startswith("250"):
                self.confirmed.append(_find_message_id(self.contents[-1]))
            if phase == "DATA" and reply.startswith("354"):
                phase, has_recipient = self._read_content(lines), False
            else:
                command = lines.readline().decode().strip()
                phase = command[:4].upper()
                self.commands += [command] if command else []
            if not phase:
                return

    def _choose_reply(self, phase: str, has_recipient: bool) -> str:
        if self.scripted.get(phase):
            return self.scripted[phase].pop(0)
        if phase == "DATA" and not has_recipient:
            return "554 no valid recipients"
        return _REPLIES.get(phase, "250 OK")

    def _read_content(self, lines: BinaryIO) -> str:
        content = b""
        while (line := lines.readline()) != b".\r\n":
            if not line:
                self.leftover = content
                return ""
            content += line
        self.contents.append(content)
        if self.awaits_next_envelope:
            self.awaits_next_envelope = False
            lines.peek(1)  # type: ignore[attr-defined]  # of a buffered reader
        return "content"

    def _send(self, connection: socket.socket, reply: str) -> None:
        time.sleep(self.delay)
        data = reply.encode()
        for start in range(0, len(data), self.chunk_size):
            connection.sendall(data[start : start + self.chunk_size])


def _find_message_id(content: bytes) -> str:
    found = re.search(rb"^Message-ID: (.*)\r$", content, re.MULTILINE)
    return found[1].decode() if found else ""


@contextmanager
def run_pipelining_mail_server() -> Iterator[tuple[int, PipeliningMailServer]]:
    """Run the server. Yields its port and the server."""
    server = PipeliningMailServer()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.serve, args=(listener,))
        thread.start()
        try:
            yield listener.getsockname()[1], server
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
