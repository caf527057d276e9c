"""A proxy that makes the server behind it look down, slow, mute or flapping to its clients."""

import socket
import struct
import threading
import time
from collections import Counter, deque
from contextlib import suppress

from tests.ports import reserve_port

# How long each response takes in mode `slow`: less than the timeout of a caller (REPLY_TIMEOUT_SECONDS) by more than a
# loaded machine delays it.
SLOW_RESPONSE_SECONDS = 1.0
CHUNK_BYTES = 65536


class Proxy:
    """A TCP proxy with a mode.

    well: forwards everything. down: refuses connections. slow: delays responses. mute: forwards requests and discards
    the responses. flapping: closes the connection on every second request for the same target, without forwarding it.
    """

    def __init__(self, server: int) -> None:
        self.server, self.port, self.mode = server, reserve_port(), "well"
        self.request_counts: Counter[bytes] = Counter()  # by request line
        self.open: set[socket.socket] = set()
        self.lock = threading.Lock()
        self.mode_changes = 0
        self.listening = self._listen()

    def set_mode(self, mode: str) -> None:
        """Change the mode and close all connections."""
        if self.mode == "down":
            self.listening = self._listen()
        self.mode = mode
        self.request_counts.clear()
        if mode == "down":
            _close(self.listening)
        with self.lock:
            self.mode_changes += 1
            closing, self.open = self.open, set()
        for connection in closing:
            _close(connection)

    def close(self) -> None:
        self.set_mode("down")

    def _listen(self) -> socket.socket:
        listening = socket.create_server(("127.0.0.1", self.port), backlog=128)
        threading.Thread(target=self._accept, args=(listening,), name=f"proxy-{self.port}", daemon=True).start()
        return listening

    def _accept(self, listening: socket.socket) -> None:
        with suppress(OSError):  # it was closed
            while True:
                client, _ = listening.accept()
                threading.Thread(target=self._serve, args=(client, self.mode_changes), daemon=True).start()

    def _serve(self, client: socket.socket, mode_changes: int) -> None:
        """Forward one connection until either side closes it, or the mode changes."""
        try:
            server = socket.create_connection(("127.0.0.1", self.server))
        except OSError:  # the server itself is down
            return _close(client)
        with self.lock:
            is_outdated = self.mode_changes != mode_changes  # it was accepted in another mode
            self.open |= set() if is_outdated else {client, server}
        if is_outdated:
            _close(client)
            return _close(server)
        requested_at: deque[float] = deque(maxlen=1)  # empty once the response begins
        responses = threading.Thread(target=self._forward_responses, args=(server, client, requested_at), daemon=True)
        responses.start()
        with suppress(OSError):
            while (data := client.recv(CHUNK_BYTES)) and not self._should_disconnect(data):
                requested_at.append(time.monotonic())
                server.sendall(data)
        _close(client)
        _close(server)
        responses.join()
        with self.lock:
            self.open -= {client, server}

    def _forward_responses(self, server: socket.socket, client: socket.socket, requested_at: deque[float]) -> None:
        with suppress(OSError):
            while data := server.recv(CHUNK_BYTES):
                if requested_at and self.mode == "slow":
                    time.sleep(max(0.0, requested_at[0] + SLOW_RESPONSE_SECONDS - time.monotonic()))
                requested_at.clear()
                if self.mode != "mute":
                    client.sendall(data)
        if self.mode != "mute":
            _close(client)

    def _should_disconnect(self, data: bytes) -> bool:
        """Return whether this is a request that mode `flapping` drops: the first of each two with the same first line."""
        line, _, _ = data.partition(b"\r\n")
        if self.mode != "flapping" or not line.endswith(b"HTTP/1.1"):
            return False
        with self.lock:
            self.request_counts[line] += 1
            return self.request_counts[line] % 2 == 1


def _close(connection: socket.socket) -> None:
    """Close with a reset, so that unread data is discarded and the other side notices at once."""
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)  # wakes the threads that wait for it
    connection.close()
