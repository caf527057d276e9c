"""A proxy by hand in front of a server, which lets it look down, slow, mute or flapping to whoever asks through it."""

import socket
import struct
import threading
import time
from collections import Counter, deque
from contextlib import suppress

from tests.config.trees import free_port

SLOW = 2.0  # seconds that each answer takes, less than a caller waits for one
CHUNK = 65536


class Proxy:
    """Well; down: refuses connections; slow; mute: hands on what is asked, and swallows the answer; or flapping: breaks off
    every second request for the same thing, unheard."""

    def __init__(self, server: int) -> None:
        self.server, self.port, self.mood = server, free_port(), "well"
        self.asked: Counter[bytes] = Counter()
        self.open: set[socket.socket] = set()
        self.lock = threading.Lock()
        self.listening = self._listen()

    def set_mood(self, mood: str) -> None:
        """From now on, also for who is connected: those connections end."""
        if self.mood == "down":
            self.listening = self._listen()
        self.mood = mood
        self.asked.clear()
        if mood == "down":
            _close(self.listening)
        with self.lock:
            gone, self.open = self.open, set()
        for connection in gone:
            _close(connection)

    def close(self) -> None:
        self.set_mood("down")

    def _listen(self) -> socket.socket:
        listening = socket.create_server(("127.0.0.1", self.port), backlog=128)
        threading.Thread(target=self._accept, args=(listening,), name=f"proxy-{self.port}", daemon=True).start()
        return listening

    def _accept(self, listening: socket.socket) -> None:
        with suppress(OSError):  # it was closed
            while True:
                client, _ = listening.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        """One connection, until either side ends it."""
        try:
            server = socket.create_connection(("127.0.0.1", self.server))
        except OSError:  # the server itself is away
            return _close(client)
        with self.lock:
            self.open |= {client, server}
        asked: deque[float] = deque(maxlen=1)  # when, until the answer begins
        answers = threading.Thread(target=self._answers, args=(server, client, asked), daemon=True)
        answers.start()
        with suppress(OSError):
            while (said := client.recv(CHUNK)) and not self._breaks_off(said):
                asked.append(time.monotonic())
                server.sendall(said)
        _close(client)
        _close(server)
        answers.join()
        with self.lock:
            self.open -= {client, server}

    def _answers(self, server: socket.socket, client: socket.socket, asked: deque[float]) -> None:
        with suppress(OSError):
            while said := server.recv(CHUNK):
                if asked and self.mood == "slow":
                    time.sleep(max(0.0, asked[0] + SLOW - time.monotonic()))
                asked.clear()
                if self.mood != "mute":
                    client.sendall(said)
        if self.mood != "mute":
            _close(client)

    def _breaks_off(self, said: bytes) -> bool:
        line, _, _ = said.partition(b"\r\n")
        if self.mood != "flapping" or not line.endswith(b"HTTP/1.1"):
            return False
        with self.lock:
            self.asked[line] += 1
            return self.asked[line] % 2 == 1


def _close(connection: socket.socket) -> None:
    """At once: what was not read yet is forgotten, and the other side hears of it."""
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)  # wakes whoever waits for it
    connection.close()
