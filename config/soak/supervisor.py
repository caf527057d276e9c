"""The shop's processes: started, killed, paused, and started again. It signals no process but those it has started."""

import ctypes
import heapq
import http.client
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

TICK = 0.02  # seconds
STOP_PATIENCE = 30.0
START_PATIENCE = 60.0
AWAKE = 10.0  # seconds until somebody who was paused answers
WARM = 1.0  # seconds that a process without an address has to live, to count as started

_prctl: Callable[..., Any] | None = getattr(ctypes.CDLL(None), "prctl", None)  # Linux


def _die_with_parent() -> None:
    if _prctl:
        _prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG: of the thread that starts it, which is the keeper's


class Process:
    """One of the shop's processes with its children, on a port of its own if it serves requests."""

    def __init__(
        self, name: str, command: list[str], environment: dict[str, str], folder: Path, port: int = 0, *, alive: int = 200
    ) -> None:  # fmt: skip
        self.name, self.command, self.environment, self.port = name, command, environment, port
        self.alive = alive  # how it answers, when it lives, where it is asked for its health
        self.log = folder / f"{name}.log"
        self.popen: subprocess.Popen | None = None
        self.expected_to_end = True
        self.began = 0.0

    def start(self) -> None:
        self.expected_to_end = False
        self.began = time.monotonic()
        with self.log.open("a") as log:
            self.popen = subprocess.Popen(
                self.command, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, preexec_fn=_die_with_parent,
            )  # fmt: skip

    def signal(self, signum: int) -> None:
        """To the process and all its children, if it lives."""
        if self.popen and self.lives():
            os.killpg(self.popen.pid, signum)

    def kill(self) -> None:
        """As a power cut would, and gone when this returns."""
        self.expected_to_end = True
        self.signal(signal.SIGKILL)
        if self.popen:
            self.popen.wait()

    def ask_to_stop(self) -> None:
        """SIGTERM, once and to the first process alone, as who runs a service does."""
        self.expected_to_end = True
        if self.popen:
            self.popen.terminate()

    def await_end(self) -> bool:
        """Wait until it has stopped; False where it does not listen."""
        try:
            return self.popen is None or self.popen.wait(STOP_PATIENCE) is not None
        except subprocess.TimeoutExpired:
            return False

    def lives(self) -> bool:
        return self.popen is not None and self.popen.poll() is None

    def is_up(self) -> bool:
        """Whether it is at work: it answers, or has lived for a while."""
        return self.lives() and (self._answers() if self.port else time.monotonic() - self.began > WARM)

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=1)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == self.alive
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


class Supervisor:
    """Keeps the processes, and does at its time what has to be done later. Its one thread starts all of them."""

    def __init__(self) -> None:
        self.processes: dict[str, Process] = {}
        self.agenda: list[tuple[float, int, Callable[[], None]]] = []
        self.lock = threading.RLock()  # held while processes are started, so that none is between two minds
        self.ended: list[str] = []  # who ended without being asked to
        self.starts = 0
        self.closing = threading.Event()
        self.thread = threading.Thread(target=self._keep, name="supervisor", daemon=True)
        self.thread.start()

    def add(self, process: Process) -> None:
        with self.lock:
            self.processes[process.name] = process
            self.start_later(process.name, 0)

    def start_later(self, name: str, seconds: float) -> None:
        self.later(seconds, lambda: self._start(self.processes[name]))

    def resume_later(self, name: str, seconds: float) -> None:
        """SIGCONT for the process that is paused now; one that was killed meanwhile is another one."""
        process = self.processes[name]
        popen = process.popen
        self.later(seconds, lambda: process.signal(signal.SIGCONT) if process.popen is popen else None)

    def await_up(self, *names: str) -> None:
        """Wait until all of these, or all there are, are at work. TimeoutError where one does not get there."""
        deadline = time.monotonic() + START_PATIENCE
        for process in [self.processes[name] for name in names or self.processes]:
            while not process.is_up():
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{process.name} did not start; see {process.log}")
                time.sleep(TICK)

    def restart_all(self, **environment: str) -> None:
        """Stop everything, and start it with this changed in its environment."""
        self._stop_all()
        for process in self.processes.values():
            process.environment |= environment
            self.start_later(process.name, 0)
        self.await_up()

    def close(self) -> None:
        """Stop everything for good."""
        self._stop_all()
        self.closing.set()
        self.thread.join()

    def stop(self, *names: str) -> None:
        """Ask these to stop, and wait until they have. Who does not is a finding, and is killed."""
        for name in names:
            self.processes[name].ask_to_stop()
        for name in names:
            if not self.processes[name].await_end():
                self.ended.append(f"{name} did not stop within {STOP_PATIENCE:.0f} s")
                self.processes[name].kill()

    def _stop_all(self) -> None:
        with self.lock:
            self.agenda.clear()  # who is down stays down
            self._wake()
            self.stop(*self.processes)

    def _wake(self) -> None:
        """Nobody is paused any more, nor half awake: just then any thread may get a signal that only the main one heeds."""
        deadline = time.monotonic() + AWAKE
        for process in self.processes.values():
            process.signal(signal.SIGCONT)
        for process in self.processes.values():
            while process.lives() and not process.is_up() and time.monotonic() < deadline:
                time.sleep(TICK)

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        with self.lock:
            heapq.heappush(self.agenda, (time.monotonic() + seconds, time.monotonic_ns(), action))

    def _start(self, process: Process) -> None:
        self.starts += 1
        process.start()

    def _keep(self) -> None:
        while not self.closing.wait(TICK):
            with self.lock:
                while self.agenda and self.agenda[0][0] <= time.monotonic():
                    heapq.heappop(self.agenda)[2]()
                for process in self.processes.values():
                    self._look_after(process)

    def _look_after(self, process: Process) -> None:
        """One that ended without being asked to is a finding; the soak goes on with a new one."""
        if process.popen and not process.expected_to_end and process.popen.poll() is not None:
            self.ended.append(f"{process.name} ended by itself with status {process.popen.returncode}")
            process.expected_to_end = True
            self.start_later(process.name, 1)


def free_port() -> int:
    """A port that nobody uses, below those that the system gives to clients: it has to be free at each new start."""
    while True:
        port = random.randint(20000, 32000)
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            _given.add(port)
            return port


_given: set[int] = set()


def server(name: str, environment: dict[str, str], folder: Path, port: int, application: str, *, alive: int) -> Process:
    """A server with one worker."""
    command = [
        sys.executable, "-m", "granian", "--interface", "wsgi", "--port", str(port), "--no-ws", "--workers", "1",
        "--blocking-threads", "4", "--workers-kill-timeout", "15", "--log-level", "error", f"{application}:application",
    ]  # fmt: skip
    return Process(name, command, environment, folder, port, alive=alive)


def engine(name: str, environment: dict[str, str], folder: Path) -> Process:
    """An engine in a process of its own."""
    return Process(name, [sys.executable, "manage.py", "engine"], environment, folder)
