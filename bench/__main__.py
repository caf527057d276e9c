"""python -m bench [operation …]: see docs/performance.md."""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg

from bench import history, measure, picture, profile, report
from bench.machine import Failed
from bench.operations import OPERATIONS, READS
from bench.plan import COMPARED, SCALED_AT, Plan, plan_of
from bench.postgres import Postgres
from bench.report import Row
from bench.systems import ROOT, Control, Satsuma, Split, System
from config.embedded import NoPostgres
from config.valkey import NoValkey

DATA = ROOT / ".data"  # on a disk, where fsync costs what it costs; a folder for temporary files may lie in memory
WARMING = 1.0  # seconds
WARMING_CLIENTS = 8


def main() -> int:
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, _interrupt)
    return run(sys.argv[1:])


def run(arguments: list[str]) -> int:
    """The command, and its exit status."""
    try:
        plan = plan_of(_understood(arguments))
        DATA.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="bench-", dir=DATA) as folder, ExitStack() as stack:
            return (_profile if plan.profile else _measure)(plan, Path(folder), stack)
    except (Failed, NoPostgres, NoValkey, psycopg.Error) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def _understood(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Measure Satsuma beside one flat Django view. See docs/performance.md."
    )
    whole = f"{', '.join(OPERATIONS)}, calls, scale, split, celery; `profile` before one of them shows where its time goes"
    parser.add_argument("only", nargs="*", help=f"what to measure, without which it is everything: {whole}")
    parser.add_argument("--only", dest="chosen", default="", help="the same, separated by commas")
    parser.add_argument("--quick", action="store_true", help="about a minute: less data, fewer rounds, 8 clients")
    parser.add_argument("--clients", help="numbers of clients, separated by commas")
    parser.add_argument("--seconds", type=float, help="of load for each system, split over the rounds")
    parser.add_argument("--rounds", type=int, help="rounds in turn, of which the median counts")
    parser.add_argument("--products", type=int, help="in the catalogue")
    parser.add_argument("--orders", type=int, help="that are over, in the databases")
    parser.add_argument("--workers", type=int, default=2, help="web workers of each system")
    parser.add_argument("--threads", type=int, default=4, help="blocking threads of each worker")
    parser.add_argument("--changes", type=float, default=10, help="of stock, a second, while customers only read")
    engines = ["embedded", "separate", "celery"]
    parser.add_argument("--engine", choices=engines, default="embedded", help="who runs Satsuma's engine")
    parser.add_argument("--out", type=Path, help="folder for results.json and results.svg")
    parser.add_argument("--check", action="store_true", help="exit status 1 where a target is missed")
    return parser.parse_args(arguments)


@contextmanager
def sink() -> Iterator[int]:
    """A mail server in a process of its own, whose CPU counts nowhere; its port."""
    child = subprocess.Popen([sys.executable, "-m", "bench.sink"], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        yield int(child.stdout.readline())  # type: ignore[union-attr]
    finally:
        child.terminate()
        child.wait()


def _systems(plan: Plan, folder: Path, stack: ExitStack, *, track_planning: bool = False) -> list[System]:
    """What the plan needs, prepared, started, with its past, warm, and frozen."""
    postgres = Postgres(folder, track_planning=track_planning)
    stack.callback(postgres.stop)
    postgres.start()
    port = stack.enter_context(sink())
    shared = (postgres, plan.layout, folder)
    systems: list[System] = [Satsuma("satsuma", *shared, plan.products, mail_port=port)]
    systems += [Control("control", *shared, plan.products)] if plan.compares else []
    systems += [Satsuma("small", *shared, plan.small, mail_port=port)] if plan.scale else []
    systems += [Split("split", *shared, plan.products, mail_port=port)] if plan.split else []
    if plan.celery:
        layout = replace(plan.layout, engine="celery")
        systems.append(Satsuma("celery", postgres, layout, folder, plan.products, mail_port=port))
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda system: system.prepare(), systems))
    for system in systems:
        stack.callback(system.stop)
        system.start()
        history.fill(system, plan.small if system.name == "small" else plan.orders)
        for operation in (one for one in plan.operations if _takes_part(system, one, SCALED_AT)):
            measure.load(system, operation, WARMING_CLIENTS, WARMING, seed=99)
        system.settle()
        system.freeze()
    return systems


def _measure(plan: Plan, folder: Path, stack: ExitStack) -> int:
    report.say(plan.title())
    systems = _systems(plan, folder, stack) if plan.operations else []
    rows: list[Row] = []
    report.say(report.HEADINGS)
    for operation in plan.operations:
        for clients in plan.clients:
            wanted = [s for s in systems if _takes_part(s, operation, clients)]
            changes = plan.changes if operation in READS else 0
            found = measure.rounds(wanted, operation, clients, plan.seconds / plan.rounds, plan.rounds, changes)
            fresh = [Row(operation, clients, name, measure.middle(figures)) for name, figures in found.items()]
            report.say(report.lines(fresh))
            rows += fresh
    calls = _calls() if plan.calls else {}
    verdicts = report.verdicts(rows, calls)
    report.say(report.verdict_lines(verdicts, calls))
    if plan.out:
        _write(plan, rows, calls, verdicts)
    return int(plan.check and not all(verdict.reached for verdict in verdicts))


def _can(system: System, operation: str) -> bool:
    return operation in {"control": COMPARED, "split": ("orders",)}.get(system.name, OPERATIONS)


def _takes_part(system: System, operation: str, clients: int) -> bool:
    if system.name == "celery":
        return operation == "orders" and clients == SCALED_AT
    return _can(system, operation) and (system.name != "small" or clients == SCALED_AT)


def _calls() -> dict[str, float]:
    done = subprocess.run([sys.executable, "-m", "bench.calls"], capture_output=True, text=True, cwd=ROOT, check=False)
    if done.returncode:
        raise Failed(done.stderr)
    return json.loads(done.stdout)


def _write(plan: Plan, rows: list[Row], calls: dict[str, float], verdicts: list[report.Verdict]) -> None:
    plan.out.mkdir(parents=True, exist_ok=True)
    results = report.document(plan, rows, calls, verdicts)
    (plan.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (plan.out / "results.svg").write_text(picture.draw(results))
    report.say(f"\nWritten to {plan.out / 'results.json'} and {plan.out / 'results.svg'}")


def _profile(plan: Plan, folder: Path, stack: ExitStack) -> int:
    for system in _systems(plan, folder, stack, track_planning=True):
        for operation in plan.operations:
            system.thaw()
            report.say(profile.profile(system, operation, plan.clients[0], plan.seconds, folder))
            system.freeze()
    return 0


if __name__ == "__main__":
    sys.exit(main())
