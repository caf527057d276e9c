"""The processes of the Celery engine: a broker, workers, beat."""

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from ops.launch import valkey
from tests.soak.supervisor import Process

READY_MARKER = b'"engine_started"'  # in the log of a worker


class Broker(Process):
    """A Valkey server. After a restart it has the same port and no messages."""

    def _answers(self) -> bool:
        return valkey.is_responding(self.port)

    def flush(self) -> None:
        """Delete every message and every queue. OSError if there is no response."""
        if (answer := valkey.send_command(self.port, "FLUSHALL")) != "+OK":
            raise OSError(answer)


class Worker(Process):
    """A worker under its parent, which restarts it. A fault happens to both, as a fault of the machine would."""

    log_offset = 0  # size of its log at the start, in bytes

    def start(self) -> None:
        self.log_offset = self.log.stat().st_size if self.log.exists() else 0
        super().start()

    def signal(self, signum: int) -> None:
        """Send a signal to the children and to the parent. The parent is suspended first, so that it starts no other child."""
        if self.popen and self.is_alive():
            os.killpg(self.popen.pid, signal.SIGSTOP)
            for child in find_child_pids(self.popen.pid):
                with suppress(ProcessLookupError):
                    os.kill(child, signum)
            os.killpg(self.popen.pid, signum)

    def is_up(self) -> bool:
        return self.is_alive() and READY_MARKER in self._read_log()

    def _read_log(self) -> bytes:
        with self.log.open("rb") as log:
            log.seek(self.log_offset)
            return log.read()


def find_child_pids(pid: int) -> list[int]:
    """Return the process ids of the children, from /proc."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            status = (process / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        if int(status[1]) == pid and status[0] != "Z":
            found.append(int(process.name))
    return found


def create_broker(name: str, environment: dict[str, str], folder: Path, port: int) -> Process:
    """Create the broker of the soak test."""
    return Broker(name, valkey.build_command(port, folder), environment, folder, port)


def create_worker(name: str, environment: dict[str, str], folder: Path, context: str) -> Process:
    """Create a worker for one context. Its log level shows when it is ready; Celery's warning about root is ignored."""
    command = [sys.executable, "-m", "ops.launch.worker", context]
    return Worker(name, command, environment | {"LOG_LEVEL": "INFO", "PYTHONWARNINGS": "ignore"}, folder)


def create_beat(name: str, environment: dict[str, str], folder: Path) -> Process:
    """Create beat, which wakes the workers of all contexts."""
    command = [sys.executable, "-m", "celery", "-q", "-A", "config.celery", "beat", "--loglevel", "WARNING"]
    return Process(name, command, environment, folder)
