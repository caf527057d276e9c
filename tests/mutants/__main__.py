"""`make mutants`: each bug is planted alone in a copy of the tree, and has to be caught by the test that it names.

Before that, all these tests have to pass on the tree as it is. Each run has a PostgreSQL of its own, begun as a copy of the
one that these tests leave behind; a bug in a migration begins with an empty one.
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

from config.embedded import Server
from tests.mutants.planted import ROOT, DoesNotApply, Mutant, mutants, plant

PATIENCE = 240.0  # seconds for one test; a bug may as well make it hang
LEAVE = shutil.ignore_patterns(".git", ".venv", ".data", ".hypothesis", "staticfiles", "*_cache", "*.log")
OTHERS_SETTINGS = ("DATABASE_", "PYTHON", "DJANGO_SETTINGS_MODULE", "CHAOS")
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
        print(f"There is no planted bug {', '.join(unknown)} in tests/mutants/.")
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # as Ctrl-C: the servers are stopped
    with tempfile.TemporaryDirectory(prefix="satsuma-mutants-") as folder:
        return _run(chosen, Path(folder), options.jobs)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", help="bugs to plant, by the names of their patches; all without")
    parser.add_argument("--jobs", type=int, default=2, help="how many at once (2)")
    return parser.parse_args()


def _run(chosen: list[Mutant], folder: Path, jobs: int) -> int:
    began = time.monotonic()
    tests = sorted({mutant.caught_by for mutant in chosen})
    tree = folder / "unmodified"
    shutil.copytree(ROOT, tree, ignore=LEAVE)
    with postgres(_beside(tree)) as url:
        whole = pytest(tree, tests, url=url, patience=PATIENCE * 4)
    if whole.status:
        print(f"{whole.output}\nThese tests have to pass on the tree as it is.")
        return 1
    print(f"{len(tests)} tests pass on the tree as it is ({time.monotonic() - began:.0f} s).", flush=True)
    survivors = _try_out_all(chosen, tree, jobs)
    print(f"{len(chosen) - survivors} of {len(chosen)} planted bugs caught in {time.monotonic() - began:.0f} s.")
    return 1 if survivors else 0


def _try_out_all(chosen: list[Mutant], tree: Path, jobs: int) -> int:
    """One line for each bug. Returns how many were not caught."""
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
    """Plant one bug in a copy of the tree and run its test. With what is wrong, if it is not caught, and the time taken."""
    began = time.monotonic()
    copy = tree.parent / mutant.name
    shutil.copytree(tree, copy)
    in_a_migration = any("/migrations/" in hunk.file for hunk in mutant.hunks)
    try:
        plant(mutant, copy)
        with postgres(_beside(copy), like=None if in_a_migration else _beside(tree)) as url:
            problem = why_not_caught(mutant, pytest(copy, [mutant.caught_by], url=url, patience=PATIENCE))
    except DoesNotApply as error:
        problem = f"does not apply: {error}"
    finally:
        for folder in (copy, _beside(copy)):
            shutil.rmtree(folder, ignore_errors=True)
    return mutant, problem, time.monotonic() - began


def _beside(tree: Path) -> Path:
    """Where the server of a tree's tests has its data."""
    return tree.with_suffix(".server")


@contextmanager
def postgres(folder: Path, like: Path | None = None) -> Iterator[str]:
    """The URL of a server in a folder, with the databases of another that is stopped."""
    server = Server(folder, durable=False)
    if like:
        _copy(Server(like).data, server.data)
    server.start()
    try:
        yield server.url
    finally:
        server.stop()
        shutil.rmtree(server.socket, ignore_errors=True)


def _copy(cluster: Path, to: Path) -> None:
    shutil.copytree(cluster, to)
    owner = cluster.stat()
    for path in (to, *to.rglob("*")):
        os.chown(path, owner.st_uid, owner.st_gid)


def pytest(tree: Path, tests: Iterable[str], *, url: str, patience: float, options: Iterable[str] = ()) -> Outcome:
    """Run tests of a tree, with plain calls between contexts."""
    report = tree / "report.xml"
    command = [sys.executable, "-m", "pytest", *tests, f"--junitxml={report}", "--tb=line", "--show-capture=no", *options]
    mine = {name: value for name, value in os.environ.items() if not any(other in name for other in OTHERS_SETTINGS)}
    environment = mine | {"TRANSPORT": "local", "DATABASE_URL": url}
    with tempfile.TemporaryFile("w+") as output:
        running = subprocess.Popen(command, cwd=tree, env=environment, stdout=output, stderr=output)
        try:
            status = running.wait(patience)
        except subprocess.TimeoutExpired:
            running.kill()
            status = running.wait()
        output.seek(0)
        return Outcome(status, output.read()[-3000:], report)


def why_not_caught(mutant: Mutant, outcome: Outcome) -> str:
    """What is wrong, unless the named test ran and failed in the way that was foretold: that is an empty text."""
    if outcome.status == 0:
        return "it passes"
    if outcome.status != 1 or not outcome.report.exists():
        return f"it did not run to its end (pytest's exit status is {outcome.status})\n{outcome.output}"
    name = mutant.caught_by.rpartition("::")[2]
    cases = [case for case in ElementTree.parse(outcome.report).iter("testcase") if case.get("name", "").startswith(name)]
    failures = [found.get("message", "") for case in cases for found in case.findall("failure")]
    if any(message.startswith(mutant.fails_with or ASSERTIONS) for message in failures):
        return ""
    return f"it does not fail as foretold, but: {(failures or [outcome.output[-600:]])[0]}"


if __name__ == "__main__":
    sys.exit(main())
