"""Real brokers that tests start, flush, kill and restart, and a TCP proxy to one whose connections can be cut."""

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

from ops.launch import valkey
from tests.concurrency import eventually
from tests.leaks import find_processes, is_descendant
from tests.ports import reserve_port


class Broker:
    """A broker process with a fixed port. Killing it loses its messages."""

    url: str

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, reserve_port()
        self.process: subprocess.Popen | None = None
        self.inherited = dict(os.environ)  # also if a test starts it again, for which it is still the fixture's process

    def start(self) -> None:
        with (self.folder / "broker.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), env=self.environment(), cwd=self.folder, stdout=log, stderr=log, start_new_session=True
            )
        eventually(self.is_ready)

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.kill()

    def is_ready(self) -> bool:
        assert self.process.poll() is None, (self.folder / "broker.log").read_text()[-2000:]
        with suppress(OSError), Connection(self.url, connect_timeout=1) as connection:
            connection.connect()
            return True
        return False

    def command(self) -> list[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return self.inherited

    def flush(self) -> None:
        """Delete every message and every queue."""
        raise NotImplementedError

    def count_undelivered(self, queue: str) -> int:
        """Count the messages of a queue that no consumer has received."""
        with Connection(self.url) as connection:
            return connection.default_channel.queue_declare(queue, durable=True, auto_delete=False).message_count

    def count_unfinished(self, queue: str) -> int:
        """Count the messages of a queue that are not acknowledged, after the consumer that received them was killed."""
        return self.count_undelivered(queue)


class Valkey(Broker):
    @property
    def url(self) -> str:
        return valkey.build_url(self.port)

    def command(self) -> list[str]:
        return valkey.build_command(self.port, self.folder)

    def flush(self) -> None:
        with Connection(self.url) as connection:
            connection.default_channel.client.flushall()

    def count_unfinished(self, queue: str) -> int:
        with Connection(self.url) as connection:
            return super().count_unfinished(queue) + connection.default_channel.client.hlen("unacked")


class RabbitMQ(Broker):
    """The system's `rabbitmq-server`, with its own port mapper, so that no process remains after the tests."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.mapper, self.distribution = reserve_port(), reserve_port()
        self.daemon: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def command(self) -> list[str]:
        return [str(next(Path("/usr/lib/rabbitmq/bin").glob("rabbitmq-server")))]

    def environment(self) -> dict[str, str]:
        home = str(self.folder)
        return self.inherited | {
            "HOME": home,
            "RABBITMQ_NODENAME": f"satsuma{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self.distribution),
            "RABBITMQ_MNESIA_BASE": home,
            "RABBITMQ_LOG_BASE": home,
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{home}/plugins",
            "ERL_EPMD_PORT": str(self.mapper),
        }

    def start(self) -> None:
        if self.daemon is None:
            self.daemon = subprocess.Popen(["epmd", "-port", str(self.mapper)], start_new_session=True)
        super().start()

    def kill(self) -> None:
        children = [pid for pid in find_processes() if is_descendant(pid, {self.process.pid})]
        super().kill()
        for pid in children:  # some of them have a session of their own
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for path in self.folder.glob("satsuma*"):  # with the messages
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def stop(self) -> None:
        super().stop()
        if self.daemon:
            self.daemon.kill()
            self.daemon.wait()

    def flush(self) -> None:
        self.kill()
        self.start()


BROKERS_BY_NAME = {"valkey": Valkey, "rabbitmq": RabbitMQ}
BROKERS = [BROKERS_BY_NAME[name] for name in os.environ.get("BROKERS", "valkey").split(",")]


class BrokerProxy:
    """A TCP proxy to a broker. Cut connections stay open but carry nothing, without an error; new ones work.

    is_dead: no connection carries anything, from the beginning. delay: seconds that each response takes.
    """

    def __init__(self, port: int, *, is_dead: bool = False, delay: float = 0.0) -> None:
        self.target_port, self.is_dead, self.delay = port, is_dead, delay
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        self.open_connections: list[threading.Event] = []
        self.sockets: list[socket.socket] = [self.listening]
        threading.Thread(target=self._serve, daemon=True).start()

    def cut_open_connections(self) -> None:
        for connected in self.open_connections:
            connected.clear()

    def close(self) -> None:
        for connection in self.sockets:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listening.accept()
                server = socket.create_connection(("127.0.0.1", self.target_port))
                connected = threading.Event()
                if not self.is_dead:
                    connected.set()
                self.open_connections.append(connected)
                self.sockets += [client, server]
                for source, target, delay in ((client, server, 0.0), (server, client, self.delay)):
                    threading.Thread(target=self._forward, args=(source, target, connected, delay), daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket, connected: threading.Event, delay: float) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                time.sleep(delay)
                if connected.is_set():
                    target.sendall(data)
            target.shutdown(socket.SHUT_RDWR)
