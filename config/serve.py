"""The process tree that serves: the server and its workers, under a parent that hands signals down and buries the dead.

Standard library only, so that the parent stays small beside the shop. It is what a container runs: process 1 has to
collect orphans, has to end in time when it is asked to, and has to fail when the server below it fails.
"""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

FINISH = 15  # seconds that a worker may take for what it has in hand; then it is killed
LEFTOVERS = 18  # the same for workers whose server was killed
DIE_WITH_PARENT, ADOPT_ORPHANS = 1, 36  # prctl(2)
LOGS = Path(__file__).with_name("granian.json")
MANAGE = Path(__file__).resolve().parent.parent / "manage.py"


class Failed(RuntimeError):
    """Something that the person at the keyboard can mend."""


def number(name: str, default: int, most: int, least: int = 1) -> int:
    """A whole number of the environment. Raises Failed with its name."""
    given = os.environ.get(name) or str(default)
    if not (given.isascii() and given.isdecimal() and least <= int(given) <= most):
        raise Failed(f"{name} is {given!r}; it has to be a number from {least} to {most}")
    return int(given)


def server(*, host: str, port: int, workers: int, threads: int, application: str = "config.wsgi") -> list[str]:
    """The command that serves. A worker that dies is replaced; one that dies again and again ends the server."""
    logs = [] if os.environ.get("LOG_FORMAT") == "text" else ["--log-config", str(LOGS)]
    return [
        sys.executable, "-m", "granian", "--interface", "wsgi", "--host", host, "--port", str(port), "--no-ws",
        "--workers", str(workers), "--blocking-threads", str(threads), "--respawn-failed-workers",
        "--workers-kill-timeout", str(FINISH), "--log-level", "warning", *logs, f"{application}:application",
    ]  # fmt: skip


def in_a_group_of_its_own() -> None:
    """For the child, before it begins. On Linux it gets SIGTERM when its parent is killed: nothing is left with the port."""
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # meant for the workers, sent to the whole group
    os.setsid()
    _prctl(DIE_WITH_PARENT, signal.SIGTERM)


def _prctl(option: int, value: int) -> None:
    load: Callable[..., Any] = ctypes.CDLL
    with suppress(OSError, AttributeError):  # another system: then signals are the ways to stop
        load(None).prctl(option, value)


class Tree:
    """Commands, one after the other, each with all its descendants."""

    def __init__(self, drain: int = 0) -> None:
        self.drain = drain
        self.stopping = False
        self.told: set[int] = set()  # those that were asked to end
        self.children: dict[int, subprocess.Popen] = {}  # those that run
        _prctl(ADOPT_ORPHANS, 1)  # process 1 of a container is asked for that anyway
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, self._asked_to_stop)

    def run(self, *commands: list[str], output: int | None = None) -> int:
        """Run them until the first ends, which ends the others; and until all their descendants have.

        The exit status of the first; 128 and more for a signal.
        """
        signal.signal(signal.SIGALRM, self._drain_on)
        for command in commands:
            child = subprocess.Popen(command, stdout=output, preexec_fn=in_a_group_of_its_own)
            self.children[child.pid] = child
        if self.stopping:  # before all were there to be told
            self._terminate()
        first = None
        while self.children:
            pid, status = os.wait()
            if pid not in self.children:
                continue
            child = self.children.pop(pid)
            child.returncode = os.waitstatus_to_exitcode(status)
            first = child.returncode if first is None else first
            self._terminate()
            self._end_what_is_left(pid)
        return 128 - first if first and first < 0 else first or 0

    def _end_what_is_left(self, group: int) -> None:
        """A server that was killed leaves its workers: they finish what they have in hand, and then have to end."""
        signal.signal(signal.SIGALRM, lambda *_: os.killpg(group, signal.SIGKILL))
        signal.alarm(LEFTOVERS)
        with suppress(OSError):  # nobody is left
            os.killpg(group, signal.SIGTERM)
            while True:
                os.waitpid(-group, 0)
        signal.alarm(0)

    def _asked_to_stop(self, *_: Any) -> None:
        """Not ready any more, but serving, for as long as gateways need to look elsewhere; asked twice, at once."""
        if self.stopping:
            self.drain = 0
        self.stopping = True
        self._drain_on()

    def _drain_on(self, *_: Any) -> None:
        """Said again each second: a worker that has just come has not heard it."""
        if self.told:  # it is over, and the alarm is for who does not end
            return
        if not self.drain or not self.children:
            return self._terminate()
        self.drain -= 1
        for group in self.children:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGUSR1)
        signal.alarm(1)

    def _terminate(self) -> None:
        """The servers alone, which ask their workers; and once, since a second signal could meet them without a handler."""
        for pid in set(self.children) - self.told:
            signal.alarm(0)
            self.told.add(pid)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)


def main() -> int:
    try:
        servers = _servers()
        drain = number("DRAIN_SECONDS", 0, 600, least=0)
        preparations = _preparations()
    except Failed as error:
        print(error, file=sys.stderr)
        return 2
    tree = Tree(drain)
    for step in preparations:
        if (code := tree.run(step, output=subprocess.DEVNULL)) or tree.stopping:  # what is wrong goes to stderr
            return code
    return tree.run(*servers)


def _servers() -> list[list[str]]:
    """The public one, and the one for other contexts' processes where there is a port for it."""
    threads = number("WEB_THREADS", 4, 256)
    servers = [
        server(
            host=os.environ.get("WEB_HOST") or "0.0.0.0",  # noqa: S104 - a container's own network
            port=number("PORT", 8000, 65535), workers=number("WEB_WORKERS", 2, 64), threads=threads,
        )
    ]  # fmt: skip
    if os.environ.get("INTERNAL_PORT"):
        port, host = number("INTERNAL_PORT", 8001, 65535), os.environ.get("INTERNAL_HOST") or "127.0.0.1"
        servers.append(
            server(host=host, port=port, workers=1, threads=number("INTERNAL_THREADS", 4, 256), application="config.internal")
        )
    return servers


def _preparations() -> list[list[str]]:
    """What is wrong is said once, in a sentence, before workers start to fail one after another."""
    wish = os.environ.get("MIGRATE_ON_START") or "false"
    if wish not in ("true", "false"):
        raise Failed(f"MIGRATE_ON_START is {wish!r}; it can be true, false")
    commands = [["check"], ["migrate", "--verbosity", "0"]] if wish == "true" else [["check"]]
    return [[sys.executable, str(MANAGE), *arguments] for arguments in commands]


if __name__ == "__main__":
    sys.exit(main())
