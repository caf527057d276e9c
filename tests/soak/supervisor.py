"""Start, kill, suspend and restart the processes of the shop. Only processes that it has started get signals."""

import ctypes
import heapq
import http.client
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ops.launch import serve

POLL_INTERVAL_SECONDS = 0.02
STOP_TIMEOUT_SECONDS = 90.0
START_TIMEOUT_SECONDS = 180.0
RESUME_TIMEOUT_SECONDS = 30.0  # until a suspended process responds again
MIN_UPTIME_SECONDS = 1.0  # a process without a port counts as started when it has run this long

_prctl: Callable[..., Any] | None = getattr(ctypes.CDLL(None), "prctl", None)  # Linux


def _die_with_parent() -> None:
    if _prctl:
        _prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG: when the thread that started it ends, which is the supervisor's


class Process:
    """A process of the shop with its children, on a port of its own if it serves requests."""

    def __init__(
        self, name: str, command: list[str], environment: dict[str, str], folder: Path, port: int = 0, *, alive: int = 200
    ) -> None:  # fmt: skip
        self.name, self.command, self.environment, self.port = name, command, environment, port
        self.alive = alive  # the status of /health when it is alive
        self.log = folder / f"{name}.log"
        self.popen: subprocess.Popen | None = None
        self.is_exit_expected = True
        self.began = 0.0

    def start(self) -> None:
        self.is_exit_expected = False
        self.began = time.monotonic()
        with self.log.open("a") as log:
            self.popen = subprocess.Popen(
                self.command, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, preexec_fn=_die_with_parent,
            )  # fmt: skip

    def signal(self, signum: int) -> None:
        """Send a signal to the process and all its children, if it is alive."""
        if self.popen and self.is_alive():
            os.killpg(self.popen.pid, signum)

    def kill(self) -> None:
        """Kill the process as a power cut would, and wait until it has ended."""
        self.is_exit_expected = True
        self.signal(signal.SIGKILL)
        if self.popen:
            self.popen.wait()

    def request_stop(self) -> None:
        """Send SIGTERM once, to the process without its children, as a service manager does."""
        self.is_exit_expected = True
        if self.popen:
            self.popen.terminate()

    def await_exit(self) -> bool:
        """Wait until it has stopped. Returns False if it does not stop in time."""
        try:
            return self.popen is None or self.popen.wait(STOP_TIMEOUT_SECONDS) is not None
        except subprocess.TimeoutExpired:
            return False

    def is_alive(self) -> bool:
        return self.popen is not None and self.popen.poll() is None

    def is_up(self) -> bool:
        """Return whether it works: it responds or, without a port, has run for a while."""
        return self.is_alive() and (
            self._answers() if self.port else time.monotonic() - self.began > MIN_UPTIME_SECONDS
        )

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
    """Owns the processes and executes scheduled actions. One thread starts all of them, since they end with that thread."""

    def __init__(self) -> None:
        self.processes: dict[str, Process] = {}
        self.scheduled_actions: list[tuple[float, int, Callable[[], None]]] = []
        self.lock = threading.RLock()  # held while processes are started or stopped
        self.ended: list[str] = []  # processes that ended without a request, or did not stop
        self.starts = 0
        self.closing = threading.Event()
        self.thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
        self.thread.start()

    def add(self, process: Process) -> None:
        with self.lock:
            self.processes[process.name] = process
            self.start_later(process.name, 0)

    def start_later(self, name: str, seconds: float) -> None:
        self.later(seconds, lambda: self._start(self.processes[name]))

    def resume_later(self, name: str, seconds: float) -> None:
        """Send SIGCONT later to the process that is suspended now, unless it was replaced meanwhile."""
        process = self.processes[name]
        popen = process.popen
        self.later(seconds, lambda: process.signal(signal.SIGCONT) if process.popen is popen else None)

    def await_up(self, *names: str) -> None:
        """Wait until these processes, or all, work. TimeoutError if one does not."""
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        for process in [self.processes[name] for name in names or self.processes]:
            while not process.is_up():
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{process.name} did not start; see {process.log}")
                time.sleep(POLL_INTERVAL_SECONDS)

    def restart_all(self, **environment: str) -> None:
        """Stop all processes, and start them with these changes of the environment."""
        self._stop_all()
        for process in self.processes.values():
            process.environment |= environment
            self.start_later(process.name, 0)
        self.await_up()

    def close(self) -> None:
        """Stop all processes and the supervisor."""
        self._stop_all()
        self.closing.set()
        self.thread.join()

    def stop(self, *names: str) -> None:
        """Stop these processes. One that does not stop in time is noted in `ended`, and killed."""
        for name in names:
            self.processes[name].request_stop()
        for name in names:
            if not self.processes[name].await_exit():
                self.ended.append(f"{name} did not stop within {STOP_TIMEOUT_SECONDS:.0f} s")
                self.processes[name].kill()

    def _stop_all(self) -> None:
        with self.lock:
            self.scheduled_actions.clear()  # a process that is down stays down
            self._resume_all()
            self.stop(*self.processes)

    def _resume_all(self) -> None:
        """Resume suspended processes and wait until they respond: before, SIGTERM could reach a thread that ignores it."""
        deadline = time.monotonic() + RESUME_TIMEOUT_SECONDS
        for process in self.processes.values():
            process.signal(signal.SIGCONT)
        for process in self.processes.values():
            while process.is_alive() and not process.is_up() and time.monotonic() < deadline:
                time.sleep(POLL_INTERVAL_SECONDS)

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        with self.lock:
            heapq.heappush(self.scheduled_actions, (time.monotonic() + seconds, time.monotonic_ns(), action))

    def _start(self, process: Process) -> None:
        self.starts += 1
        process.start()

    def _run(self) -> None:
        while not self.closing.wait(POLL_INTERVAL_SECONDS):
            with self.lock:
                while self.scheduled_actions and self.scheduled_actions[0][0] <= time.monotonic():
                    heapq.heappop(self.scheduled_actions)[2]()
                for process in self.processes.values():
                    self._restart_if_exited(process)

    def _restart_if_exited(self, process: Process) -> None:
        """Note a process that ended without a request, and start it again."""
        if process.popen and not process.is_exit_expected and process.popen.poll() is not None:
            self.ended.append(f"{process.name} ended by itself with status {process.popen.returncode}")
            process.is_exit_expected = True
            self.start_later(process.name, 1)


def create_server(
    name: str, environment: dict[str, str], folder: Path, port: int, application: str, *, alive: int
) -> Process:
    """Create a server with one worker."""
    command = serve.build_server_command(host="127.0.0.1", port=port, workers=1, application=application)
    return Process(name, command, environment, folder, port, alive=alive)


def create_engine(name: str, environment: dict[str, str], folder: Path) -> Process:
    """Create an engine in a process of its own."""
    return Process(name, [sys.executable, "manage.py", "engine"], environment, folder)
