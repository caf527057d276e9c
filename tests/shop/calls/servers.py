"""Servers for the remote transport to call: one that serves methods, and one that never answers."""

import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler

from shop.calls.remote.nonces import record_nonce
from shop.calls.remote.server import ServedMethod, create_application


class SilentRequestHandler(WSGIRequestHandler):
    """Handle requests without a line on standard error for each."""

    def log_message(self, *_: object) -> None:
        pass


class CountingServer(ThreadedWSGIServer):
    """Count the connections that clients open."""

    daemon_threads = True
    url: str

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), SilentRequestHandler)
        self.connections = 0

    def get_request(self):
        self.connections += 1
        return super().get_request()


def record_call(context: str, nonce: str) -> bool:
    """Record the nonce of a call to a tests' interface, which has no database, in that of orders."""
    return record_nonce("orders", nonce)


@contextmanager
def run_server(methods: dict[str, ServedMethod]) -> Iterator[CountingServer]:
    """Serve these methods at the server's `url`."""
    server = CountingServer()
    server.set_app(create_application(methods, record_call))
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def wait_for_disconnect(connection: socket.socket) -> None:
    """Send nothing until the client closes the connection."""
    connection.recv(1)


class UnresponsiveServer:
    """Read each request, call `on_request` with the connection, then close it. By default nothing is answered."""

    def __init__(self, on_request: Callable[[socket.socket], object] = lambda connection: None) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listening.getsockname()[1]}"
        self.requests: list[bytes] = []
        self.on_request = on_request
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self.listening.accept()
                threading.Thread(target=self._handle, args=(connection,), daemon=True).start()

    def _handle(self, connection: socket.socket) -> None:
        with suppress(OSError), connection, connection.makefile("rb") as stream:
            headers = http.client.parse_headers(stream) if stream.readline() else {}
            self.requests.append(stream.read(int(headers.get("Content-Length", 0))))
            self.on_request(connection)

    def close(self) -> None:
        self.listening.shutdown(socket.SHUT_RDWR)  # otherwise the thread in accept() would take one more connection
        self.listening.close()
