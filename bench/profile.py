"""Profile an operation: statements by their time in the server, functions by their time in the interpreter."""

import shutil
import signal
import subprocess
from collections import Counter
from pathlib import Path

from bench import measure
from bench.measure import Figures
from bench.postgres import Statement
from bench.processes import Process
from bench.systems import System

RATE = 200  # samples per second
TOP = 45


def profile(system: System, operation: str, clients: int, seconds: float, folder: Path) -> str:
    """Profile one round on a thawed system and return a report. It has functions only if py-spy is on the PATH."""
    watchers = _watch(system, folder)
    figures, statements = measure.measured(system, operation, clients, seconds, seed=1)
    for watcher in watchers:
        watcher.signal(signal.SIGINT)
        watcher.child.wait()
    parts = [_title(operation, clients, figures), _statements(statements, figures)]
    if watchers:
        stacks = Counter[tuple[str, ...]]()
        for file in folder.glob("stacks-*"):
            stacks.update(_stacks(file))
        parts += [_functions(stacks, figures, own=True), _functions(stacks, figures, own=False)]
    return "\n\n".join(parts) + "\n"


def _watch(system: System, folder: Path) -> list[Process]:
    spy = shutil.which("py-spy")
    if not spy:
        return []
    options = ["--subprocesses", "--gil", "--function", "--nonblocking", "--rate", str(RATE), "--format", "raw"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return [
        Process([spy, "record", *options, "--pid", str(pid), "--output", str(folder / f"stacks-{pid}")], {}, **quiet)
        for pid in (process.pid for process in system.processes)
    ]


def _title(operation: str, clients: int, figures: Figures) -> str:
    return (
        f"# {operation}, {clients} clients: {figures.count} operations, {figures.per_second:.1f}/s\n\n"
        f"CPU ms per operation: {figures.app_cpu:.2f} in the shop, {figures.database_cpu:.2f} in PostgreSQL. "
        f"{figures.statements:.1f} statements, {figures.frame:.1f} BEGIN and COMMIT, {figures.writes:.1f} write transactions, "
        f"{figures.fsyncs:.1f} fsyncs, {figures.wal_kilobytes:.1f} kB of WAL."
    )


def _statements(statements: list[Statement], figures: Figures) -> str:
    n = figures.count
    total = (
        f"{'':7} {sum(s.planning for s in statements) / n:8.3f} {sum(s.execution for s in statements) / n:8.3f}  all"
    )
    rows = [f"{s.calls / n:7.2f} {s.planning / n:8.3f} {s.execution / n:8.3f}  {_line(s.text)}" for s in statements]
    head = "## Statements: calls, ms of planning and ms of execution per operation; without parsing and commits"
    return "\n".join([head, "", total, *rows[:TOP]])


def _line(text: str) -> str:
    return " ".join(text.split())[:150]


def _stacks(file: Path) -> Counter[tuple[str, ...]]:
    found = Counter[tuple[str, ...]]()
    for line in file.read_text().splitlines():
        frames, _, count = line.rpartition(" ")
        functions = tuple(frame for frame in frames.split(";") if not frame.startswith("process "))
        if functions:
            found[functions] += int(count)
    return found


def _functions(stacks: Counter[tuple[str, ...]], figures: Figures, *, own: bool) -> str:
    """Render the functions with their share of the samples and of the shop's CPU.

    With `own`, only the time in the function itself counts; else also the time in the functions that it calls.
    """
    spent = Counter[str]()
    for frames, count in stacks.items():
        for frame in {frames[-1]} if own else set(frames):
            spent[frame] += count
    per_sample = figures.app_cpu / max(1, stacks.total())
    rows = [f"{100 * n / stacks.total():6.1f} % {n * per_sample:8.3f}  {frame}" for frame, n in spent.most_common(TOP)]
    kind = "own time" if own else "with the functions that they call"
    return "\n".join([f"## Functions, {kind}: share of the samples, ms of the shop's CPU per operation", "", *rows])
