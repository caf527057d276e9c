"""Run the process tree of a shop: the web servers and their workers, under a parent that forwards signals and reaps children.

Standard library only, so that the parent uses little memory. It is what a container runs: process 1 has to reap orphans,
exit in time when it is asked to stop, and fail when the server below it fails.
"""

import ctypes
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from config.contexts import ALL_CONTEXTS

WORKER_STOP_TIMEOUT_SECONDS = 15  # how long a worker may take to finish its requests; then it is killed
ORPHAN_STOP_TIMEOUT_SECONDS = 18  # the same for workers whose server was killed
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # prctl(2)
LOG_CONFIG_PATH = Path(__file__).with_name("granian.json")
MANAGE_PATH = Path(__file__).resolve().parents[2] / "manage.py"


class LaunchError(RuntimeError):
    """The shop cannot start; the message explains what the operator has to change."""


def read_integer(name: str, default: int, maximum: int, minimum: int = 1) -> int:
    """Read a whole number from the environment. Raises LaunchError with the name of the variable."""
    value = os.environ.get(name) or str(default)
    if not (value.isascii() and value.isdecimal() and minimum <= int(value) <= maximum):
        raise LaunchError(f"{name} is {value!r}; it must be a number from {minimum} to {maximum}")
    return int(value)


def build_server_command(*, host: str, port: int, workers: int, application: str = "config.wsgi") -> list[str]:
    """Build the command of a web server. It replaces a worker that exits, and exits itself if workers keep failing.

    Its event loop receives requests, and threads of the application handle them (shop/request_buffer.py).
    """
    logs = [] if os.environ.get("LOG_FORMAT") == "text" else ["--log-config", str(LOG_CONFIG_PATH)]
    return [
        sys.executable, "-m", "granian", "--interface", "rsgi", "--host", host, "--port", str(port), "--no-ws",
        "--workers", str(workers), "--loop", "asyncio", "--respawn-failed-workers",
        "--workers-kill-timeout", str(WORKER_STOP_TIMEOUT_SECONDS), "--log-level", "warning", *logs,
        f"{application}:server",
    ]  # fmt: skip


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


class ProcessTree:
    """Run commands, each with all its descendants, and stop them in order.

    `drain_seconds` is how long the servers keep serving, although not ready any more, after the first stop signal.
    """

    def __init__(self, drain_seconds: int = 0) -> None:
        self.drain_seconds = drain_seconds
        self.is_stopping = False
        self.terminated_pids: set[int] = set()  # children that got SIGTERM
        self.children: dict[int, subprocess.Popen[bytes]] = {}  # running children by process id
        _prctl(PR_SET_CHILD_SUBREAPER, 1)  # process 1 of a container adopts orphans anyway
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, self._handle_stop_signal)

    def run(self, *commands: list[str], output: int | None = None) -> int:
        """Run commands until the first one exits, stop the others, and wait until all their descendants have exited.

        Returns the exit status of the first; 128 plus the number of the signal that killed it.
        """
        signal.signal(signal.SIGALRM, self._continue_draining)
        for command in commands:
            child = subprocess.Popen(command, stdout=output, preexec_fn=prepare_child_process)
            self.children[child.pid] = child
        if self.is_stopping:  # a signal came before all commands had started
            self._terminate_children()
        first = None
        while self.children:
            pid, status = os.wait()
            if pid not in self.children:
                continue
            child = self.children.pop(pid)
            child.returncode = os.waitstatus_to_exitcode(status)
            first = child.returncode if first is None else first
            self._terminate_children()
            self._terminate_process_group(pid)
        return 128 - first if first and first < 0 else first or 0

    def _terminate_process_group(self, group: int) -> None:
        """Stop the workers that a killed server leaves: they finish their requests, or are killed after a timeout."""
        signal.signal(signal.SIGALRM, lambda *_: os.killpg(group, signal.SIGKILL))
        signal.alarm(ORPHAN_STOP_TIMEOUT_SECONDS)
        with suppress(OSError):  # the group is empty
            os.killpg(group, signal.SIGTERM)
            while True:
                os.waitpid(-group, 0)
        signal.alarm(0)

    def _handle_stop_signal(self, *_: object) -> None:
        """Start to drain; a second signal stops at once."""
        if self.is_stopping:
            self.drain_seconds = 0
        self.is_stopping = True
        self._continue_draining()

    def _continue_draining(self, *_: object) -> None:
        """Mark the workers as not ready, again each second since a new worker has not got the signal; then stop."""
        if self.terminated_pids:  # draining is over; the alarm now belongs to _terminate_process_group
            return
        if not self.drain_seconds or not self.children:
            return self._terminate_children()
        self.drain_seconds -= 1
        for group in self.children:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGUSR1)
        signal.alarm(1)

    def _terminate_children(self) -> None:
        """Send SIGTERM to each child once; servers stop their own workers.

        Only once, since a second signal could reach a child that has removed its handler.
        """
        for pid in set(self.children) - self.terminated_pids:
            signal.alarm(0)
            self.terminated_pids.add(pid)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)


def main() -> int:
    try:
        servers = _build_server_commands()
        drain_seconds = read_integer("DRAIN_SECONDS", 0, 600, minimum=0)
        preparations = _build_preparation_commands()
    except LaunchError as error:
        print(error, file=sys.stderr)
        return 2
    tree = ProcessTree(drain_seconds)
    for command in preparations:
        if (status := tree.run(command, output=subprocess.DEVNULL)) or tree.is_stopping:  # errors are on stderr
            return status
    return tree.run(*servers)


def _build_server_commands() -> list[list[str]]:
    """Build the command of the public server, and of the internal one for other processes if INTERNAL_PORT is set."""
    public = build_server_command(
        host=os.environ.get("WEB_HOST") or "0.0.0.0",  # noqa: S104 - a container's own network
        port=read_integer("PORT", 8000, 65535),
        workers=read_integer("WEB_WORKERS", 2, 64),
    )
    if not os.environ.get("INTERNAL_PORT"):
        return [public]
    internal = build_server_command(
        host=os.environ.get("INTERNAL_HOST") or "127.0.0.1",
        port=read_integer("INTERNAL_PORT", 8001, 65535),
        workers=1,
        application="config.internal",
    )
    return [public, internal]


def _build_preparation_commands() -> list[list[str]]:
    """Build the commands that run before the servers, so that a wrong setting is reported once and not by each worker."""
    migrate_on_start = os.environ.get("MIGRATE_ON_START") or "false"
    if migrate_on_start not in ("true", "false"):
        raise LaunchError(f"MIGRATE_ON_START is {migrate_on_start!r}; it must be true or false")
    contexts = [name.strip() for name in (os.environ.get("CONTEXTS") or ",".join(ALL_CONTEXTS)).split(",")]
    check = [
        "check",
        *(f"--database={context}" for context in contexts),
    ]  # databases that are not reachable are skipped
    commands = [check, ["migrate", "--verbosity", "0"]] if migrate_on_start == "true" else [check]
    return [[sys.executable, str(MANAGE_PATH), *arguments] for arguments in commands]


if __name__ == "__main__":
    sys.exit(main())
