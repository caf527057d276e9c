"""A mail server that replies up to one phase of SMTP, and then waits until its client gives up."""

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

REPLIES = {
    "greeting": b"220 ready\r\n",
    "EHLO": b"250 ready\r\n",
    "MAIL": b"250 OK\r\n",
    "RCPT": b"250 OK\r\n",
    "DATA": b"354 go on\r\n",
    "content": b"250 OK\r\n",
}
PIPELINING_REPLIES = REPLIES | {"EHLO": b"250-ready\r\n250 PIPELINING\r\n"}


@contextmanager
def run_silent_mail_server(
    silent_at: str, *, drips: bool = False, replies: Mapping[str, bytes] = REPLIES
) -> Iterator[tuple[int, list[str]]]:
    """Run a server that does not reply at this phase. Yields its port and the commands that it received.

    drips: it sends lines of a reply that has no end.
    """
    received: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_serve, args=(server, silent_at, received, drips, replies))
        thread.start()
        try:
            yield server.getsockname()[1], received
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def _serve(
    server: socket.socket, silent_at: str, received: list[str], drips: bool, replies: Mapping[str, bytes]
) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:  # the test has ended
            return
        with connection, connection.makefile("rb") as lines:
            _converse(connection, lines, silent_at, received, replies)
            if drips:
                _drip(connection)
                continue
            for _ in lines:  # until the client closes the connection
                pass


def _drip(connection: socket.socket) -> None:
    """Send a line of a reply each tenth of a second for three seconds, or until the client closes the connection."""
    connection.settimeout(0.1)
    with suppress(ConnectionError):
        for _ in range(30):
            connection.sendall(b"250-wait\r\n")
            with suppress(TimeoutError):
                if not connection.recv(1000):
                    return


def _converse(
    connection: socket.socket, lines: Iterator[bytes], silent_at: str, received: list[str], replies: Mapping[str, bytes]
) -> None:
    phase = "greeting"
    while phase != silent_at:
        connection.sendall(replies.get(phase, b"250 OK\r\n"))
        line = next(lines, b"")
        if not line:
            return
        if phase == "DATA":  # the content, up to the line with a single dot
            while line not in (b".\r\n", b""):
                line = next(lines, b"")
            phase = "content"
        else:
            phase = line.decode()[:4].upper().strip()
        received.append(phase)
