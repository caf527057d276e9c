"""`make mutants`: plant each bug alone in a copy of the tree, and check that the test which it names fails.

Before that, these tests have to pass on the unmodified tree. Each run has a PostgreSQL of its own, which starts as a copy of
that of the unmodified run; for a bug in a migration it starts empty.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from ops.launch.postgres import PostgresServer
from tests.mutants.planted import ROOT, DoesNotApply, Mutant, mutants, plant

TIMEOUT_SECONDS = 600.0  # for one test, which may hang because of the bug
EXIT_TIMEOUT_SECONDS = 60.0
IGNORED_FILES = shutil.ignore_patterns(".git", ".venv", ".data", ".hypothesis", "staticfiles", "*_cache", "*.log")
FOREIGN_VARIABLES = ("DATABASE_", "PYTHON", "DJANGO_SETTINGS_MODULE", "CHAOS")
ASSERTIONS = ("assert ", "AssertionError", "Failed: DID NOT RAISE")


class Outcome(NamedTuple):
    """How a run of pytest ended."""

    status: int
    output: str
    report: Path


def main() -> int:
    options = _options()
    chosen = [mutant for mutant in mutants() if not options.names or mutant.name in options.names]
    unknown = sorted(set(options.names) - {mutant.name for mutant in chosen})
    if unknown:
        print(f"There is no planted bug with the name {', '.join(unknown)}. The names are in tests/**/mutants.py.")
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # like Ctrl-C, so that the servers are stopped
    with tempfile.TemporaryDirectory(prefix="satsuma-mutants-") as folder:
        return _run(chosen, Path(folder), options.jobs)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", help="names of the bugs to plant (default: all)")
    parser.add_argument("--jobs", type=int, default=2, help="number of parallel runs (default: 2)")
    return parser.parse_args()


def _run(chosen: list[Mutant], folder: Path, jobs: int) -> int:
    began = time.monotonic()
    tests = sorted({mutant.caught_by for mutant in chosen})
    tree = folder / "unmodified"
    shutil.copytree(ROOT, tree, ignore=IGNORED_FILES)
    with postgres(_server_folder(tree)) as url:
        whole = pytest(tree, tests, url=url, timeout=TIMEOUT_SECONDS * 4)
    if whole.status:
        print(f"{whole.output}\nThese tests have to pass on the unmodified tree first.")
        return 1
    print(f"{len(tests)} tests pass on the unmodified tree ({time.monotonic() - began:.0f} s).", flush=True)
    survivors = _try_out_all(chosen, tree, jobs)
    print(f"{len(chosen) - survivors} of {len(chosen)} planted bugs caught in {time.monotonic() - began:.0f} s.")
    return 1 if survivors else 0


def _try_out_all(chosen: list[Mutant], tree: Path, jobs: int) -> int:
    """Print one line for each bug, and return how many were not caught."""
    survivors = 0
    pool = ThreadPoolExecutor(max(1, jobs))
    try:
        for mutant, problem, seconds in pool.map(partial(try_out, tree), chosen):
            survivors += bool(problem)
            print(f"{'SURVIVED' if problem else 'caught':8} {seconds:5.1f} s  {mutant.name}: {mutant.what}", flush=True)
            if problem:
                print(f"{'':18}{mutant.caught_by}: {problem}", flush=True)
    finally:
        pool.shutdown(cancel_futures=True)
    return survivors


def try_out(tree: Path, mutant: Mutant) -> tuple[Mutant, str, float]:
    """Plant one bug in a copy of the tree and run its test.

    Returns the bug, the reason why it was not caught (empty if it was), and the seconds taken.
    """
    began = time.monotonic()
    copy = tree.parent / mutant.name
    shutil.copytree(tree, copy)
    in_a_migration = any(".migrations." in change.module for change in mutant.changes)
    try:
        plant(mutant, copy)
        with postgres(_server_folder(copy), like=None if in_a_migration else _server_folder(tree)) as url:
            problem = why_not_caught(mutant, pytest(copy, [mutant.caught_by], url=url, timeout=TIMEOUT_SECONDS))
    except DoesNotApply as error:
        problem = f"does not apply: {error}"
    finally:
        for folder in (copy, _server_folder(copy)):
            shutil.rmtree(folder, ignore_errors=True)
    return mutant, problem, time.monotonic() - began


def _server_folder(tree: Path) -> Path:
    """Return the folder of the database server for the tests of a tree."""
    return tree.with_suffix(".server")


@contextmanager
def postgres(folder: Path, like: Path | None = None) -> Iterator[str]:
    """Run a server in a folder, and yield its URL. like: the folder of a stopped server whose databases are copied."""
    server = PostgresServer(folder, durable=False)
    if like:
        _copy(PostgresServer(like).data_folder, server.data_folder)
    server.start()
    try:
        yield server.url
    finally:
        server.stop()
        shutil.rmtree(server.socket, ignore_errors=True)


def _copy(cluster: Path, target: Path) -> None:
    shutil.copytree(cluster, target)
    owner = cluster.stat()
    for path in (target, *target.rglob("*")):
        os.chown(path, owner.st_uid, owner.st_gid)


def pytest(tree: Path, tests: Iterable[str], *, url: str, timeout: float, options: Iterable[str] = ()) -> Outcome:
    """Run tests of a tree, with local calls between contexts."""
    report = tree / "report.xml"
    command = [
        sys.executable,
        "-m",
        "pytest",
        *tests,
        f"--junitxml={report}",
        "--tb=line",
        "--show-capture=no",
        *options,
    ]
    kept = {name: value for name, value in os.environ.items() if not any(part in name for part in FOREIGN_VARIABLES)}
    environment = kept | {"TRANSPORT": "local", "DATABASE_URL": url, "CONDITION_TIMEOUT_SECONDS": "60"}
    with tempfile.TemporaryFile("w+") as output:
        running = subprocess.Popen(command, cwd=tree, env=environment, stdout=output, stderr=output)
        try:
            status = running.wait(timeout)
        except subprocess.TimeoutExpired:
            status = _interrupt(running)
        output.seek(0)
        return Outcome(status, output.read()[-3000:], report)


def _interrupt(process: subprocess.Popen) -> int:
    """End pytest by Ctrl-C, so that its fixtures end the servers that they have started, or else kill it."""
    process.send_signal(signal.SIGINT)
    try:
        return process.wait(EXIT_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def why_not_caught(mutant: Mutant, outcome: Outcome) -> str:
    """Return why the bug was not caught; empty if the named test ran and failed as the mutant declares."""
    if outcome.status == 0:
        return "it passes"
    if outcome.status != 1 or not outcome.report.exists():
        return f"it was not completed (the exit status of pytest is {outcome.status})\n{outcome.output}"
    name = mutant.caught_by.rpartition("::")[2]
    cases = [
        case for case in ElementTree.parse(outcome.report).iter("testcase") if case.get("name", "").startswith(name)
    ]
    failures = [found.get("message", "") for case in cases for found in case.findall("failure")]
    if any(message.startswith(mutant.fails_with or ASSERTIONS) for message in failures):
        return ""
    return f"it does not fail as declared, but with: {(failures or [outcome.output[-600:]])[0]}"


if __name__ == "__main__":
    sys.exit(main())
