"""Real brokers that tests start, flush, kill and start again; and a line to one, which can go dead."""

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

from kombu import Connection

from config import valkey
from tests.config.trees import free_port
from tests.threads import eventually


class Broker:
    """A server of its own, on one port for all its lives. What a killed one held is gone."""

    url: str

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        with (self.folder / "broker.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), env=self.environment(), cwd=self.folder, stdout=log, stderr=log, start_new_session=True
            )
        eventually(self.answers, patience=60)

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.kill()

    def answers(self) -> bool:
        assert self.process.poll() is None, (self.folder / "broker.log").read_text()[-2000:]
        with suppress(OSError), Connection(self.url, connect_timeout=1) as connection:
            connection.connect()
            return True
        return False

    def command(self) -> list[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    def flush(self) -> None:
        """Forget every message and every queue."""
        raise NotImplementedError

    def waiting(self, queue: str) -> int:
        """How many messages of a queue have been given to nobody."""
        with Connection(self.url) as connection:
            return connection.default_channel.queue_declare(queue, durable=True, auto_delete=False).message_count

    def kept(self, queue: str) -> int:
        """How many messages of a queue nobody has finished, given out or not, once who had them is gone."""
        return self.waiting(queue)


class Valkey(Broker):
    @property
    def url(self) -> str:
        return valkey.url(self.port)

    def command(self) -> list[str]:
        return valkey.command(self.port, self.folder)

    def flush(self) -> None:
        with Connection(self.url) as connection:
            connection.default_channel.client.flushall()

    def kept(self, queue: str) -> int:
        with Connection(self.url) as connection:
            return super().kept(queue) + connection.default_channel.client.hlen("unacked")


class RabbitMQ(Broker):
    """The system's `rabbitmq-server`, with a port mapper of its own, so that nothing is left behind."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.mapper, self.distribution = free_port(), free_port()
        self.daemon: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def command(self) -> list[str]:
        return [str(next(Path("/usr/lib/rabbitmq/bin").glob("rabbitmq-server")))]

    def environment(self) -> dict[str, str]:
        home = str(self.folder)
        return os.environ | {
            "HOME": home, "RABBITMQ_NODENAME": f"satsuma{self.port}@localhost", "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port), "RABBITMQ_DIST_PORT": str(self.distribution),
            "RABBITMQ_MNESIA_BASE": home, "RABBITMQ_LOG_BASE": home, "RABBITMQ_ENABLED_PLUGINS_FILE": f"{home}/plugins",
            "ERL_EPMD_PORT": str(self.mapper),
        }  # fmt: skip

    def start(self) -> None:
        if self.daemon is None:
            self.daemon = subprocess.Popen(["epmd", "-port", str(self.mapper)], start_new_session=True)
        super().start()

    def kill(self) -> None:
        super().kill()
        for left in self.folder.glob("satsuma*"):  # its messages too
            shutil.rmtree(left) if left.is_dir() else left.unlink()

    def stop(self) -> None:
        super().stop()
        if self.daemon:
            self.daemon.kill()
            self.daemon.wait()

    def flush(self) -> None:
        self.kill()
        self.start()


NAMED = {"valkey": Valkey, "rabbitmq": RabbitMQ}
BROKERS = [NAMED[name] for name in os.environ.get("BROKERS", "valkey").split(",")]


class Line:
    """A TCP line to a broker. Once it is dead, nothing comes through those that are open, and nobody is told; new ones work.

    dead: from the beginning, and for ever. slow: seconds that each answer takes.
    """

    def __init__(self, port: int, *, dead: bool = False, slow: float = 0.0) -> None:
        self.to, self.dead, self.slow = port, dead, slow
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        self.open: list[threading.Event] = []
        self.sockets: list[socket.socket] = [self.listening]
        threading.Thread(target=self._serve, daemon=True).start()

    def die(self) -> None:
        for one in self.open:
            one.clear()

    def close(self) -> None:
        for one in self.sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                here, _ = self.listening.accept()
                there = socket.create_connection(("127.0.0.1", self.to))
                alive = threading.Event()
                if not self.dead:
                    alive.set()
                self.open.append(alive)
                self.sockets += [here, there]
                for one, other, after in ((here, there, 0.0), (there, here, self.slow)):
                    threading.Thread(target=self._pass_on, args=(one, other, alive, after), daemon=True).start()

    def _pass_on(self, one: socket.socket, other: socket.socket, alive: threading.Event, after: float) -> None:
        with suppress(OSError):
            while data := one.recv(65536):
                time.sleep(after)
                if alive.is_set():
                    other.sendall(data)
            other.shutdown(socket.SHUT_RDWR)
