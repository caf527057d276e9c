"""python -m bench: see docs/performance.md."""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench import measure
from bench.machine import Failed
from bench.postgres import Postgres
from bench.systems import ROOT, Control, Layout, Satsuma, System

HEAD = "{:<8} {:>3}  {:<10} {:>8} {:>7} {:>7} {:>7} {:>8} {:>8} {:>6} {:>6} {:>6} {:>6} {:>7}"


@contextmanager
def sink() -> Iterator[int]:
    """A mail server; its port."""
    child = subprocess.Popen([sys.executable, "-m", "bench.sink"], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        yield int(child.stdout.readline())  # type: ignore[union-attr]
    finally:
        child.terminate()
        child.wait()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("operations", nargs="*")
    parser.add_argument("--clients", default="8")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--products", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--engine", choices=["embedded", "separate"], default="embedded")
    given = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="satsuma-bench-") as folder, ExitStack() as stack:
            run(given, Path(folder), stack)
    except Failed as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def run(given: argparse.Namespace, folder: Path, stack: ExitStack) -> None:
    postgres = Postgres(folder)
    postgres.start()
    stack.callback(postgres.stop)
    layout = Layout(given.workers, given.threads, given.engine)
    satsuma = Satsuma("satsuma", postgres, layout, folder, given.products, mail_port=stack.enter_context(sink()))
    control = Control("control", postgres, layout, folder, given.products)
    systems: list[System] = [satsuma, control]
    for system in systems:
        system.prepare()
        stack.callback(system.stop)
        system.start()
        for operation in given.operations:
            measure.load(system, operation, 8, 1.0, 99)
        system.settle()
        system.freeze()
    print(HEAD.format("", "c", "", "per s", "p50 ms", "p95", "p99", "app CPU", "PG CPU", "SQL", "+txn", "writes", "drain", "loader"))
    for operation in given.operations:
        for clients in map(int, given.clients.split(",")):
            found = measure.rounds(systems, operation, clients, given.seconds, given.rounds)
            for name, all_of_it in found.items():
                m = measure.middle(all_of_it)
                print(HEAD.format(
                    operation, clients, name, f"{m.per_second:.1f}", f"{m.p50:.1f}", f"{m.p95:.1f}", f"{m.p99:.1f}",
                    f"{m.app_cpu:.2f}", f"{m.database_cpu:.2f}", f"{m.statements:.1f}", f"{m.frame:.1f}", f"{m.writes:.1f}",
                    f"{m.drain:.2f}", f"{m.loader_cpu:.2f}"), flush=True)


if __name__ == "__main__":
    sys.exit(main())
