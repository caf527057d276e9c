"""A connection pooler on loopback that speaks PostgreSQL's protocol as pgbouncer does, in session or in transaction mode.

It refuses or drops startup parameters that it does not know, gives each client a cancel key of its own, and hands out the
server session that was used last. The tests were also run with a real pgbouncer.
"""

import secrets
import socket
import struct
import threading
from contextlib import suppress
from typing import Any

from django.conf import settings

KNOWN_PARAMETERS = {"user", "database", "client_encoding", "application_name", "DateStyle", "TimeZone"}
SSL_REQUEST, PROTOCOL_3 = 80877103, 196608
READY, ERROR, KEY_DATA, AUTHENTICATION = b"Z", b"E", b"K", b"R"


class Pooler:
    """Accept clients until `close`. Use it with contextlib.closing.

    mode: session or transaction. ignored: the startup parameters that are dropped instead of refused.
    """

    def __init__(self, mode: str, ignored: tuple[str, ...] = ()) -> None:
        self.mode, self.ignored = mode, set(ignored)
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        self.idle: dict[tuple[str, str], list[_ServerSession]] = {}
        self.lock = threading.Lock()
        self.sockets = [self.listening]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for one in self.sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listening.accept()
                self.sockets.append(client)
                threading.Thread(target=self._serve, args=[client], daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError, EOFError), client:
            parameters = _read_startup(client)
            if unknown := set(parameters) - KNOWN_PARAMETERS - self.ignored:
                return client.sendall(_build_error(f"unsupported startup parameter: {unknown.pop()}"))
            own = {name: value for name, value in parameters.items() if name in KNOWN_PARAMETERS}
            login = (own["user"], own["database"])
            first = self._take(login, own)
            client.sendall(_message(AUTHENTICATION, struct.pack("!i", 0)) + first.greeting)
            client.sendall(_message(KEY_DATA, secrets.token_bytes(8)) + _message(READY, b"I"))
            if self.mode == "session":
                return _relay_session(client, first)
            self._put_back(login, first)
            while True:
                kind, payload = _read_message(client)
                server = self._take(login, own)
                server.run_transaction(client, kind, payload)
                self._put_back(login, server)

    def _take(self, login: tuple[str, str], parameters: dict[str, str]) -> "_ServerSession":
        with self.lock:
            if idle := self.idle.get(login):
                return idle.pop()
        session = _ServerSession(parameters)
        self.sockets.append(session.socket)
        return session

    def _put_back(self, login: tuple[str, str], session: "_ServerSession") -> None:
        with self.lock:
            self.idle.setdefault(login, []).append(session)


class _ServerSession:
    """A session of the real server. Its login needs no password (the tests' server trusts its socket)."""

    def __init__(self, parameters: dict[str, str]) -> None:
        server = settings.DATABASE_SERVER
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(f"{server['HOST']}/.s.PGSQL.{server['PORT'] or 5432}")
        pairs = b"".join(f"{name}\0{value}\0".encode() for name, value in parameters.items()) + b"\0"
        self.socket.sendall(struct.pack("!ii", len(pairs) + 8, PROTOCOL_3) + pairs)
        self.greeting = b""
        while (message := _read_message(self.socket))[0] != READY:
            if message[0] == ERROR:
                raise OSError(message[1])
            if message[0] == b"S":  # the value of a parameter
                self.greeting += _message(*message)

    def run_transaction(self, client: socket.socket, kind: bytes, payload: bytes) -> None:
        """Relay messages until the server is ready outside of a transaction."""
        while True:
            self.socket.sendall(_message(kind, payload))
            while True:
                answer = _read_message(self.socket)
                client.sendall(_message(*answer))
                if answer[0] == READY:
                    break
            if answer[1] == b"I":
                return
            kind, payload = _read_message(client)


def _relay_session(client: socket.socket, server: _ServerSession) -> None:
    def relay(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)

    back = threading.Thread(target=relay, args=[server.socket, client], daemon=True)
    back.start()
    relay(client, server.socket)
    back.join()


def _read_startup(client: socket.socket) -> dict[str, str]:
    while True:
        length, code = struct.unpack("!ii", _read(client, 8))
        payload = _read(client, length - 8)
        if code == PROTOCOL_3:
            parts = payload.decode().split("\0")
            return {name: value for name, value in zip(parts[::2], parts[1::2], strict=False) if name}
        client.sendall(b"N")  # neither TLS nor GSSAPI


def _read_message(source: socket.socket) -> tuple[bytes, bytes]:
    kind = _read(source, 1)
    [length] = struct.unpack("!i", _read(source, 4))
    if kind == b"X":  # the client ends
        raise EOFError
    return kind, _read(source, length - 4)


def _read(source: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = source.recv(count - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def _message(kind: bytes, payload: bytes) -> bytes:
    return kind + struct.pack("!i", len(payload) + 4) + payload


def _build_error(text: str) -> bytes:
    fields: Any = b"SFATAL\0VFATAL\0C08P01\0M" + text.encode() + b"\0\0"
    return _message(ERROR, fields)
