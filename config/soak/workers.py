"""What the Celery engine needs beside the web processes: a broker, workers, beat."""

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from config import valkey
from config.soak.supervisor import Process

READY = b'"engine_started"'  # what a worker says in its log


class Broker(Process):
    """A Valkey. It comes back on the same port, and empty."""

    def _answers(self) -> bool:
        return valkey.answers(self.port)

    def flush(self) -> None:
        """Forget every message and every queue. OSError where it does not answer."""
        if (answer := valkey.tell(self.port, "FLUSHALL")) != "+OK":
            raise OSError(answer)


class Worker(Process):
    """A worker under its parent, which starts it again: what befalls the machine befalls both."""

    said_before = 0  # bytes of its log

    def start(self) -> None:
        self.said_before = self.log.stat().st_size if self.log.exists() else 0
        super().start()

    def signal(self, signum: int) -> None:
        """To the parent too, which is held while its children are looked for: it could start another."""
        if self.popen and self.lives():
            os.killpg(self.popen.pid, signal.SIGSTOP)
            for child in children(self.popen.pid):
                with suppress(ProcessLookupError):
                    os.kill(child, signum)
            os.killpg(self.popen.pid, signum)

    def is_up(self) -> bool:
        return self.lives() and READY in self._said()

    def _said(self) -> bytes:
        with self.log.open("rb") as log:
            log.seek(self.said_before)
            return log.read()


def children(pid: int) -> list[int]:
    """Process ids, from /proc."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            status = (process / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        if int(status[1]) == pid and status[0] != "Z":
            found.append(int(process.name))
    return found


def broker(name: str, environment: dict[str, str], folder: Path, port: int) -> Process:
    """A broker of the soak's own."""
    return Broker(name, valkey.command(port, folder), environment, folder, port)


def worker(name: str, environment: dict[str, str], folder: Path, context: str) -> Process:
    """A worker for one context, which says what it does: so one sees that it is at work. Celery warns of root at each start."""
    command = [sys.executable, "-m", "config.worker", context]
    return Worker(name, command, environment | {"LOG_LEVEL": "INFO", "PYTHONWARNINGS": "ignore"}, folder)


def beat(name: str, environment: dict[str, str], folder: Path) -> Process:
    """Whatever the workers' contexts are, it rings for all."""
    command = [sys.executable, "-m", "celery", "-q", "-A", "config.celery", "beat", "--loglevel", "WARNING"]
    return Process(name, command, environment, folder)
