"""A TCP proxy in front of PostgreSQL that can hang: it accepts connections and data then, and answers nothing."""

import socket
import threading
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from django.conf import settings

CHUNK_BYTES = 65536


class HangingProxy:
    """Forward connections to the server of the test run until `close`. While `is_running` is cleared, nothing is forwarded."""

    def __init__(self) -> None:
        self.is_running = threading.Event()
        self.is_running.set()
        self.listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listening.getsockname()[1]
        self.sockets = [self.listening]
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, context: str) -> str:
        """Return the URL of a context's database behind this proxy."""
        database = settings.DATABASES[context]
        user, password = quote(database["USER"]), quote(database["PASSWORD"])
        return f"postgres://{user}:{password}@127.0.0.1:{self.port}/{database['NAME']}"

    def close(self) -> None:
        self.is_running.set()
        for one in self.sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listening.accept()
                server = _connect()
                self.sockets += [client, server]
                for source, target in ((client, server), (server, client)):
                    threading.Thread(target=self._forward, args=(source, target), daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(CHUNK_BYTES):
                self.is_running.wait()
                target.sendall(data)
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


def _connect() -> socket.socket:
    host, port = settings.DATABASE_SERVER["HOST"], settings.DATABASE_SERVER["PORT"] or 5432
    if not host.startswith("/"):
        return socket.create_connection((host, port))
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(Path(host) / f".s.PGSQL.{port}"))
    return connection
