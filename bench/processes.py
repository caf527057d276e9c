"""Start, freeze and stop process groups, and read the CPU that their trees have used from /proc."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ops.launch.process_tree import prepare_child_process

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Failed(RuntimeError):
    """The run cannot go on; the message explains why."""


class Process:
    """A child that leads a process group, which has all the processes that it starts."""

    def __init__(self, command: list[str], environment: dict[str, str], **options: Any) -> None:
        self.child = subprocess.Popen(command, env=environment, preexec_fn=prepare_child_process, **options)
        self.pid = self.child.pid

    def signal(self, number: int) -> None:
        os.killpg(self.pid, number)

    def freeze(self) -> None:
        """Stop its execution, so that it uses no CPU while another system is measured."""
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    def stop(self) -> None:
        """Kill it, frozen or not; its data is not needed any more."""
        if self.child.poll() is None:
            self.signal(signal.SIGKILL)
        self.child.wait()


def cpu(pid: int) -> float:
    """Return the seconds of CPU that a process and its descendants have used, including those that have exited."""
    ticks = {process: (parent, used) for process, parent, used in _read_processes()}
    tree, has_grown = {pid}, True
    while has_grown:
        more = {process for process, (parent, _) in ticks.items() if parent in tree} - tree
        tree, has_grown = tree | more, bool(more)
    return sum(ticks[process][1] for process in tree if process in ticks) / TICKS_PER_SECOND


def _read_processes() -> Iterator[tuple[int, int, int]]:
    """Read id, parent and used CPU ticks of all processes."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # the process has exited meanwhile
        yield int(entry.name), int(fields[1]), sum(map(int, fields[11:15]))


def wait_until(is_done: Callable[[], bool], subject: str, *, timeout: float = 60.0, interval: float = 0.05) -> None:
    """Poll until a condition holds. Raises Failed with the subject after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not is_done():
        if time.monotonic() > deadline:
            raise Failed(f"{subject}: not finished within {timeout:.0f} s")
        time.sleep(interval)
