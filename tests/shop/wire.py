"""Somebody at the other end of the wire: a server of the remote transport, and one that never answers."""

import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler

from shop import remote


class Quiet(WSGIRequestHandler):
    """No line on standard error for each request."""

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadedWSGIServer):
    """Counts the connections that were opened to it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Quiet)
        self.connections = 0

    def get_request(self):
        self.connections += 1
        return super().get_request()


@contextmanager
def answering(served: dict[str, remote.Serve]) -> Iterator[Server]:
    """A server at `url` that answers these methods."""
    server = Server()
    server.set_app(remote.application(served))
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def wait_for_the_end(connection: socket.socket) -> None:
    """Say nothing until the other side hangs up."""
    connection.recv(1)


class HangUp:
    """Takes each request, and hangs up without an answer; or, told so, does something else with the connection."""

    def __init__(self, then: Callable[[socket.socket], None] = lambda connection: None) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listening.getsockname()[1]}"
        self.requests: list[bytes] = []
        self.then = then
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self.listening.accept()
                threading.Thread(target=self._take, args=(connection,), daemon=True).start()

    def _take(self, connection: socket.socket) -> None:
        with suppress(OSError), connection, connection.makefile("rb") as reading:
            headers = http.client.parse_headers(reading) if reading.readline() else {}
            self.requests.append(reading.read(int(headers.get("Content-Length", 0))))
            self.then(connection)

    def close(self) -> None:
        self.listening.shutdown(socket.SHUT_RDWR)  # else whoever waits in accept() takes one more
        self.listening.close()
