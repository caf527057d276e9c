"""Processes: started in groups of their own, frozen, stopped, and what CPU their trees have used, from /proc."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from config.serve import in_a_group_of_its_own

TICK = os.sysconf("SC_CLK_TCK")


class Failed(RuntimeError):
    """The run cannot go on; the sentence says why."""


class Process:
    """A child in a group of its own, with all that it starts."""

    def __init__(self, command: list[str], environment: dict[str, str], **options: Any) -> None:
        self.child = subprocess.Popen(
            command, env=environment, preexec_fn=in_a_group_of_its_own, **options
        )
        self.pid = self.child.pid

    def signal(self, number: int) -> None:
        os.killpg(self.pid, number)

    def freeze(self) -> None:
        """Take it off the CPU, so that it costs its neighbour nothing."""
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it at once, frozen or not: nothing that it holds is needed any more."""
        if self.child.poll() is None:
            self.signal(signal.SIGKILL)
        self.child.wait()


def cpu(pid: int) -> float:
    """Seconds of CPU that a process, its descendants, and those of them that have ended, have used."""
    ticks = {process: (parent, used) for process, parent, used in _processes()}
    wanted, grew = {pid}, True
    while grew:
        more = {process for process, (parent, _) in ticks.items() if parent in wanted} - wanted
        wanted, grew = wanted | more, bool(more)
    return sum(ticks[process][1] for process in wanted if process in ticks) / TICK


def _processes() -> Iterator[tuple[int, int, int]]:
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        yield int(entry.name), int(fields[1]), sum(map(int, fields[11:15]))


def wait_until(done: Callable[[], bool], what: str, *, patience: float = 60.0, pause: float = 0.05) -> None:
    """Look again and again. Raises Failed where it takes longer than `patience` seconds."""
    deadline = time.monotonic() + patience
    while not done():
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not within {patience:.0f} s")
        time.sleep(pause)
