"""Keep the processes of `make up` and `make split` running, and the PostgreSQL server that they use. Standard library only."""

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from ops.launch.postgres import PostgresServer, PostgresUnavailable

POLL_INTERVAL_SECONDS = 0.1
FIRST_RESTART_DELAY_SECONDS, MAX_RESTART_DELAY_SECONDS = 1.0, 30.0  # of what fails again and again

Starter = Callable[[], "subprocess.Popen[bytes]"]


@dataclass
class Restarts:
    """When something may be started again: the first time at once, then after ever longer delays."""

    started_at: float
    delay: float = 0.0

    def schedule(self, now: float) -> float:
        """Return when to start it again."""
        if now - self.started_at > MAX_RESTART_DELAY_SECONDS:  # it has worked since
            self.delay = 0.0
        due_at = now + self.delay
        self.delay = min(max(2 * self.delay, FIRST_RESTART_DELAY_SECONDS), MAX_RESTART_DELAY_SECONDS)
        return due_at


class Supervisor:
    """Start processes, start each again that exits, and the database server if it is killed.

    server: the database server that the launcher has started, if any.
    """

    def __init__(self, server: PostgresServer | None) -> None:
        self.server = server
        self.server_restarts, self.server_due_at = Restarts(time.monotonic()), 0.0
        self.starters: dict[str, Starter] = {}
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.restarts: dict[str, Restarts] = {}
        self.due_at: dict[str, float] = {}  # of the processes that have exited

    def start(self, name: str, starter: Starter) -> "subprocess.Popen[bytes]":
        """Start a process, which `keep_running` starts again by calling the starter."""
        self.starters[name], self.restarts[name] = starter, Restarts(time.monotonic())
        self.running[name] = starter()
        return self.running[name]

    def keep_running(self) -> NoReturn:
        """Start again what exits, until a signal stops this process. The others continue to serve meanwhile."""
        while True:
            now = time.monotonic()
            self._keep_server_running(now)
            for name, process in self.running.items():
                if process.poll() is not None and name not in self.due_at:
                    self.due_at[name] = self.restarts[name].schedule(now)
                    _report(f"{name} exited with status {process.returncode}, and is started again")
            for name in [name for name, due_at in self.due_at.items() if due_at <= now]:
                del self.due_at[name]
                self.running[name], self.restarts[name].started_at = self.starters[name](), now
            time.sleep(POLL_INTERVAL_SECONDS)

    def _keep_server_running(self, now: float) -> None:
        if self.server is None or now < self.server_due_at:
            return
        try:
            if self.server.restart_after_kill():
                _report("PostgreSQL was killed, and has been started again")
                self.server_due_at = self.server_restarts.schedule(now)
                self.server_restarts.started_at = time.monotonic()
        except PostgresUnavailable as error:
            self.server_due_at = self.server_restarts.schedule(now)
            _report(f"PostgreSQL was killed, and cannot be started again yet. {error}")


def _report(text: str) -> None:
    print(f"\n{text}", file=sys.stderr, flush=True)
