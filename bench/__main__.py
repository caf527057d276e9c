"""Run the benchmark: `python -m bench [operation …]`. See docs/performance.md."""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import psycopg

from bench import chart, mail, measure, order_history, profile, report
from bench.asyncpg_control.system import AsyncpgControl, list_missing_packages
from bench.mail import MailRow
from bench.mail_sink import sink
from bench.operations import OPERATIONS, READS
from bench.plan import COMPARED, EXTRA, OVERLOAD_CLIENTS, READ_BY_ASYNCPG, SCALED_AT, Plan, make_plan
from bench.postgres import Postgres
from bench.processes import Failed
from bench.report import Row
from bench.systems import ROOT, Control, Layout, Satsuma, Split, System, extract_revision
from ops.launch.postgres import PostgresUnavailable
from ops.launch.valkey import ValkeyUnavailable

DATA = ROOT / ".data"  # on a disk, so that fsync has its real cost; a folder for temporary files may be in memory
WARMUP_SECONDS = 1.0
WARMUP_CLIENTS = 8


def main() -> int:
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, _interrupt)
    return run(sys.argv[1:])


def run(arguments: list[str]) -> int:
    """Run the benchmark and return the exit status."""
    try:
        plan = make_plan(_parse_arguments(arguments))
        DATA.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="bench-", dir=DATA) as folder, ExitStack() as stack:
            return (_profile if plan.profile else _measure)(plan, Path(folder), stack)
    except (Failed, PostgresUnavailable, ValkeyUnavailable, psycopg.Error) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _parse_arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure Satsuma, compared with one plain Django view. See docs/performance.md.",
    )
    names = f"{', '.join((*OPERATIONS, *EXTRA))}; put `profile` before an operation to profile it"
    parser.add_argument("only", nargs="*", help=f"what to measure (default: everything): {names}")
    parser.add_argument("--only", dest="chosen", default="", help="the same, separated by commas")
    parser.add_argument("--quick", action="store_true", help="about a minute: less data, fewer rounds, 8 clients")
    parser.add_argument("--clients", help="numbers of concurrent clients, separated by commas")
    parser.add_argument("--seconds", type=float, help="seconds of load on each system, divided among the rounds")
    parser.add_argument("--rounds", type=int, help="number of rounds, of which the median is reported")
    parser.add_argument("--products", type=int, help="number of products in the catalogue")
    parser.add_argument("--orders", type=int, help="number of past orders in the databases")
    parser.add_argument("--workers", type=int, default=2, help="web workers of each system (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=4, help="threads of each worker (default: %(default)s)")
    parser.add_argument(
        "--changes", type=float, default=10, help="stock changes per second while clients read (default: %(default)s)"
    )
    engines = ["embedded", "separate", "celery"]
    parser.add_argument(
        "--engine", choices=engines, default="embedded", help="engine of Satsuma (default: %(default)s)"
    )
    parser.add_argument(
        "--before", metavar="REVISION", help="measure this git revision too, in turn with the present files"
    )
    parser.add_argument("--out", type=Path, help="folder for results.json and results.svg")
    parser.add_argument("--check", action="store_true", help="exit with status 1 if a target is missed")
    return parser.parse_args(arguments)


def _systems(plan: Plan, folder: Path, stack: ExitStack, *, track_planning: bool = False) -> list[System]:
    """Prepare the systems that the plan needs: started, with past orders, warmed up, and frozen."""
    postgres = Postgres(folder, track_planning=track_planning)
    stack.callback(postgres.stop)
    postgres.start()
    port = stack.enter_context(sink())
    shared = (postgres, plan.layout, folder)
    satsuma = Satsuma("satsuma", *shared, plan.products, mail_port=port)
    systems: list[System] = [satsuma]
    if plan.before:
        root = extract_revision(plan.before, folder / "before")
        systems.append(Satsuma("before", *shared, plan.products, mail_port=port, root=root))
    systems += [Control("control", *shared, plan.products)] if plan.compares else []
    systems += _build_second_control(plan, satsuma, *shared)
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
        if not isinstance(system, AsyncpgControl):  # the orders of Satsuma are in the tables that it reads
            order_history.create_past_orders(system, plan.small if system.name == "small" else plan.orders)
        for operation in (one for one in plan.operations if _is_measured(system, one, SCALED_AT)):
            measure.load(system, operation, WARMUP_CLIENTS, WARMUP_SECONDS, seed=99)
        system.settle()
        system.freeze()
    return systems


def _build_second_control(
    plan: Plan, satsuma: Satsuma, postgres: Postgres, layout: Layout, folder: Path
) -> list[System]:
    """Return the control that reads with FastAPI and asyncpg, or none if it is not needed or not installed."""
    if not plan.compares_reads:
        return []
    if missing := list_missing_packages():
        report.print_now(f"FastAPI + asyncpg: not installed ({', '.join(missing)}: pip install --group bench)")
        return []
    control = AsyncpgControl("asyncpg", postgres, layout, folder, plan.products)
    control.read_tables_of(satsuma)
    return [control]


def _measure(plan: Plan, folder: Path, stack: ExitStack) -> int:
    report.print_now(plan.title())
    systems = _systems(plan, folder, stack) if plan.operations else []
    rows: list[Row] = []
    if systems:
        report.print_now(report.HEADINGS)
    for operation in plan.operations:
        for clients in plan.list_clients(operation):
            measured = [system for system in systems if _is_measured(system, operation, clients)]
            changes = plan.changes if operation in READS else 0
            found = measure.rounds(measured, operation, clients, plan.seconds / plan.rounds, plan.rounds, changes)
            new = [Row(operation, clients, name, measure.median_round(figures)) for name, figures in found.items()]
            report.print_now(report.lines(new))
            rows += new
    calls = _calls() if plan.calls else {}
    mails = _mails(plan, folder) if plan.mail else []
    verdicts = report.verdicts(rows, calls, mails)
    report.print_now(report.verdict_lines(verdicts, calls))
    if plan.out:
        _write(plan.out, report.document(plan, rows, calls, mails, verdicts))
    return int(plan.check and not all(verdict.reached for verdict in verdicts))


def _supports(system: System, operation: str) -> bool:
    supported: dict[str, tuple[str, ...]] = {
        "control": COMPARED, "split": ("orders",), "asyncpg": READ_BY_ASYNCPG,
    }  # fmt: skip
    return operation in supported.get(system.name, tuple(OPERATIONS))


def _is_measured(system: System, operation: str, clients: int) -> bool:
    if system.name == "celery":
        return operation == "orders" and clients == SCALED_AT
    if clients > OVERLOAD_CLIENTS[0]:
        return operation == "orders" and system.name == "satsuma"
    return _supports(system, operation) and (system.name != "small" or clients == SCALED_AT)


def _calls() -> dict[str, float]:
    done = subprocess.run([sys.executable, "-m", "bench.calls"], capture_output=True, text=True, cwd=ROOT, check=False)
    if done.returncode:
        raise Failed(done.stderr)
    microseconds: dict[str, float] = json.loads(done.stdout)
    return microseconds


def _mails(plan: Plan, folder: Path) -> list[MailRow]:
    report.print_now(mail.HEADINGS)
    rows = []
    for row in mail.measure(plan, folder / "mail"):
        report.print_now(mail.line(row))
        rows.append(row)
    return rows


def _write(folder: Path, results: chart.Results) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (folder / "results.svg").write_text(chart.draw(results))
    report.print_now(f"\nWritten to {folder / 'results.json'} and {folder / 'results.svg'}")


def _profile(plan: Plan, folder: Path, stack: ExitStack) -> int:
    for system in _systems(plan, folder, stack, track_planning=True):
        for operation in plan.operations:
            system.thaw()
            report.print_now(profile.profile(system, operation, plan.clients[0], plan.seconds, folder))
            system.freeze()
    return 0


if __name__ == "__main__":
    sys.exit(main())
