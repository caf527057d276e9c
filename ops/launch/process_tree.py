"""Run commands with all their descendants: start servers again that end, reap orphans, and stop everything in order.

Standard library only, so that the parent uses little memory.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from ops.launch.processes import is_group_listening

TREE_VARIABLE = "PROCESS_TREE_PID"  # which process adopts workers (shop/parent_process.py)
POLL_INTERVAL_SECONDS = 0.05
LISTENING_CHECK_INTERVAL_SECONDS = 0.25
ORPHAN_STOP_TIMEOUT_SECONDS = 18  # how long workers whose server was killed may take to finish their requests
HANDOVER_TIMEOUT_SECONDS = 30.0  # how long such workers continue to serve until a new server has started
MAX_RESTARTS, RESTART_PERIOD_SECONDS = 5, 60.0  # more in this period: the servers cannot work, and the tree ends
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # prctl(2)


def prepare_child_process() -> None:
    """Prepare a child before it executes its command (`preexec_fn`).

    On Linux it gets SIGTERM when its parent is killed, so that no process is left that holds the port.
    """
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # meant for the workers, sent to the whole group
    os.setsid()
    _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _prctl(option: int, value: int) -> None:
    with suppress(OSError, AttributeError):  # not Linux: there, only signals stop the processes
        ctypes.CDLL(None).prctl(option, value)


@dataclass
class _Orphans:
    """The descendants of a child that has exited, which are its process group."""

    group: int
    command: list[str]
    began_at: float
    is_terminated: bool = False
    next_check_at: float = 0.0

    def signal(self, signum: int) -> bool:
        """Send a signal. Returns False if the group has no member any more."""
        try:
            os.killpg(self.group, signum)
        except PermissionError:
            return True
        except ProcessLookupError:
            return False
        return True


class ProcessTree:
    """Run commands, each with all its descendants, and stop them in order.

    `drain_seconds` is how long the servers keep serving, although not ready any more, after the first stop signal.
    """

    def __init__(self, drain_seconds: int = 0) -> None:
        self.drain_seconds = drain_seconds
        self.is_stopping = False
        self.next_drain_at = 0.0
        self.terminated_pids: set[int] = set()  # children that got SIGTERM
        self.children: dict[int, subprocess.Popen[bytes]] = {}  # running children by process id
        self.commands: dict[int, list[str]] = {}  # theirs
        self.orphans: list[_Orphans] = []
        self.restarts: list[float] = []  # when servers were started again
        _prctl(PR_SET_CHILD_SUBREAPER, 1)  # process 1 of a container adopts orphans anyway
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, self._handle_stop_signal)

    def run(self, *commands: list[str], output: int | None = None) -> int:
        """Run commands until the first one exits, stop the others, and wait until all their descendants have exited.

        Returns the exit status of the first; 128 plus the number of the signal that killed it.
        """
        return self._run(commands, output, max_restarts=0)

    def serve(self, *commands: list[str]) -> int:
        """Run servers like `run`, but start one again that exits, unless that happens more than MAX_RESTARTS times.

        Workers that a killed server leaves continue to serve until the new server has started.
        """
        return self._run(commands, None, max_restarts=MAX_RESTARTS)

    def _run(self, commands: tuple[list[str], ...], output: int | None, max_restarts: int) -> int:
        for command in commands:
            self._start(command, output)
        first = None
        while self.children or self.orphans:
            if self.is_stopping:
                self._continue_draining()
            self._end_orphans()
            exited = self._reap()
            if exited is None:
                continue
            if not self.is_stopping and first is None and self._may_restart(max_restarts):
                self._restart(exited)
            else:
                first = exited.returncode if first is None else first
                self._terminate_children()
        return 128 - first if first and first < 0 else first or 0

    def _start(self, command: list[str], output: int | None = None) -> None:
        environment = os.environ | {TREE_VARIABLE: str(os.getpid())}
        child = subprocess.Popen(command, stdout=output, env=environment, preexec_fn=prepare_child_process)
        self.children[child.pid], self.commands[child.pid] = child, command

    def _reap(self) -> "subprocess.Popen[bytes] | None":
        """Return a child that has exited. Returns None if there is none, after a moment, or if it was an orphan."""
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            pid = 0
        if not pid:
            time.sleep(POLL_INTERVAL_SECONDS)
        child = self.children.pop(pid, None)
        if child:
            child.returncode = os.waitstatus_to_exitcode(status)
            self.orphans.append(_Orphans(pid, self.commands.pop(pid), time.monotonic()))
        return child

    def _may_restart(self, max_restarts: int) -> bool:
        now = time.monotonic()
        self.restarts = [at for at in self.restarts if now - at < RESTART_PERIOD_SECONDS]
        if len(self.restarts) >= max_restarts:
            return False
        self.restarts.append(now)
        return True

    def _restart(self, exited: "subprocess.Popen[bytes]") -> None:
        _report("server_restarted", exited.returncode)
        self._start(self.orphans[-1].command)

    def _end_orphans(self) -> None:
        """Let the workers that a server leaves finish their requests; kill them if they take too long.

        They are stopped when the server that replaces theirs listens, or when none does.
        """
        now = time.monotonic()
        self.orphans = [orphans for orphans in self.orphans if orphans.signal(0)]
        for orphans in self.orphans:
            if orphans.is_terminated:
                if now - orphans.began_at > ORPHAN_STOP_TIMEOUT_SECONDS:
                    orphans.signal(signal.SIGKILL)
            elif now - orphans.began_at > HANDOVER_TIMEOUT_SECONDS or not self._is_needed(orphans):
                orphans.is_terminated, orphans.began_at = True, now
                orphans.signal(signal.SIGTERM)

    def _is_needed(self, orphans: _Orphans) -> bool:
        """Return whether a server is starting that replaces the one of these workers."""
        successors = [pid for pid, command in self.commands.items() if command == orphans.command]
        if self.is_stopping or not successors:
            return False
        if time.monotonic() < orphans.next_check_at:
            return True
        orphans.next_check_at = time.monotonic() + LISTENING_CHECK_INTERVAL_SECONDS
        return not any(map(is_group_listening, successors))

    def _handle_stop_signal(self, *_: object) -> None:
        """Start to drain; a second signal stops at once."""
        if self.is_stopping:
            self.drain_seconds, self.next_drain_at = 0, 0.0
        self.is_stopping = True

    def _continue_draining(self) -> None:
        """Mark the workers as not ready, again each second since a new worker has not got the signal; then stop."""
        if time.monotonic() < self.next_drain_at:
            return
        if not self.drain_seconds:
            return self._terminate_children()
        self.drain_seconds -= 1
        self.next_drain_at = time.monotonic() + 1
        for group in self.children:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGUSR1)

    def _terminate_children(self) -> None:
        """Send SIGTERM to each child once; servers stop their own workers.

        Only once, since a second signal could reach a child that has removed its handler.
        """
        for pid in set(self.children) - self.terminated_pids:
            self.terminated_pids.add(pid)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)


def _report(event: str, status: int) -> None:
    """Write a log entry, in the format of the shop (shop/logs.py)."""
    if os.environ.get("LOG_FORMAT") == "text":
        text = f"{event}: a server exited with status {status}"
    else:
        entry = {"event": event, "status": status, "logger": "server", "level": "error"}
        text = json.dumps(entry | {"timestamp": datetime.now(UTC).isoformat().replace("+00:00", "Z")})
    print(text, file=sys.stderr, flush=True)
