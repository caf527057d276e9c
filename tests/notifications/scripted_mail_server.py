"""A mail server that replies up to one phase of SMTP, and then waits until its client gives up."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

REPLIES = {
    "greeting": b"220 ready\r\n",
    "EHLO": b"250 ready\r\n",
    "MAIL": b"250 OK\r\n",
    "RCPT": b"250 OK\r\n",
    "DATA": b"354 go on\r\n",
    "content": b"250 OK\r\n",
}


@contextmanager
def run_silent_mail_server(silent_at: str) -> Iterator[tuple[int, list[str]]]:
    """Run a server that does not reply at this phase. Yields its port and the commands that it received."""
    received: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_serve, args=(server, silent_at, received))
        thread.start()
        try:
            yield server.getsockname()[1], received
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def _serve(server: socket.socket, silent_at: str, received: list[str]) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:  # the test has ended
            return
        with connection, connection.makefile("rb") as lines:
            _converse(connection, lines, silent_at, received)


def _converse(connection: socket.socket, lines: Iterator[bytes], silent_at: str, received: list[str]) -> None:
    phase = "greeting"
    while phase != silent_at:
        connection.sendall(REPLIES.get(phase, b"250 OK\r\n"))
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
    for _ in lines:  # until the client closes the connection
        pass
