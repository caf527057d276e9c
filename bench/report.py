"""Report the figures: as lines of text, as results.json, and compared with the targets."""

import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.chart import Results
from bench.mail import FAR_MS, MailRow
from bench.measure import Figures
from bench.plan import OVERLOAD_CLIENTS, SCALED_AT, Plan

LINE = "{:<7} {:>3}  {:<8} {:>8} {:>7} {:>7} {:>7}   {:>6} {:>6}   {:>5} {:>5} {:>6} {:>6} {:>6}   {:>6} {:>7}"
HEADINGS = "\n" + LINE.format(
    "",
    "",
    "",
    "per s",
    "p50 ms",
    "p95",
    "p99",
    "CPU ms",
    "+ PG",
    "SQL",
    "+ txn",
    "writes",
    "fsyncs",
    "WAL kB",
    "drain",
    "loader",
)
# Throughput of Satsuma, divided by that of the control, at SCALED_AT clients.
MIN_THROUGHPUT_RATIOS = {"orders": 0.7, "list": 2.0, "detail": 2.0}
# The same, divided by that of FastAPI + asyncpg, which reads the tables of Satsuma.
MIN_THROUGHPUT_RATIOS_OF_ASYNCPG = {"list": 1.8, "detail": 1.5}
MAX_CALL_OVERHEAD_MICROSECONDS = 1.0  # of an interface call, compared with a plain call
MAX_REMOTE_CALL_MICROSECONDS = 500.0  # median of calls to another process
MIN_MAILS_PER_SECOND = 200.0  # of one process, to a mail server at FAR_MS
MAX_SPLIT_RATIO = 2.5  # p50 in five processes, divided by that in one
# "Towards Modern Development of Cloud Applications" (HotOS 2023) reports up to 15 times the latency and 9 times the cost.
PUBLISHED = "published: up to 15 times the time, 9 times the CPU"
MIN_CELERY_RATIO = 0.7  # throughput with Celery, divided by that with the embedded engine
MIN_THROUGHPUT_OF_BEFORE = 0.97  # of the revision that --before names
MIN_OVERLOAD_RATIO = 0.95  # throughput with OVERLOAD_CLIENTS, divided by that with SCALED_AT
MAX_OVERLOAD_SPREAD = 3.0  # p99, divided by p50, of the requests that are admitted
MAX_SCALE_RATIO = 1.3  # time in the large shop, divided by that in the small one


@dataclass(frozen=True)
class Row:
    """The median figures of one operation, number of clients and system."""

    operation: str
    clients: int
    system: str
    figures: Figures


@dataclass(frozen=True)
class Verdict:
    """A target and its measured value."""

    name: str
    value: float
    limit: float
    at_least: bool
    note: str = ""

    @property
    def reached(self) -> bool:
        return self.value >= self.limit if self.at_least else self.value <= self.limit


def print_now(text: str) -> None:
    print(text, flush=True)


def lines(rows: list[Row]) -> str:
    return "\n".join(_line(row) for row in rows)


def _line(row: Row) -> str:
    f = row.figures
    return LINE.format(
        row.operation, row.clients, row.system, f"{f.per_second:.1f}", f"{f.p50:.1f}", f"{f.p95:.1f}", f"{f.p99:.1f}",
        f"{f.app_cpu:.2f}", f"{f.database_cpu:.2f}", f"{f.statements:.1f}", f"{f.frame:.1f}", f"{f.writes:.1f}",
        f"{f.fsyncs:.1f}", f"{f.wal_kilobytes:.1f}",
        f"{f.drain:.2f} s", f"{f.loader_cpu:.2f}",
    ) + (f"   {f.refused:.1f} refused for each" if f.refused else "")  # fmt: skip


class Comparison:
    """The figures of the systems at SCALED_AT clients, by operation and system."""

    def __init__(self, rows: list[Row]) -> None:
        self.figures = {(row.operation, row.system): row.figures for row in rows if row.clients == SCALED_AT}

    def list_operations(self, system: str) -> list[str]:
        return [operation for operation, measured in self.figures if measured == system]

    def throughput(self, operation: str, system: str, reference: str) -> float:
        """Divide the throughput of one system by that of another."""
        return self.figures[operation, system].per_second / self.figures[operation, reference].per_second

    def cpu_note(self, operation: str, system: str, reference: str) -> str:
        used, compared = (
            figures.app_cpu + figures.database_cpu
            for figures in (self.figures[operation, system], self.figures[operation, reference])
        )
        return f"{used / compared:.2f} times the CPU"


def verdicts(rows: list[Row], calls: dict[str, float], mails: Sequence[MailRow] = ()) -> list[Verdict]:
    """Compare the figures with each target that this run has figures for."""
    found = Comparison(rows)
    return [
        *_judge_control(found, "control", "the control's", MIN_THROUGHPUT_RATIOS),
        *_judge_control(found, "asyncpg", "FastAPI + asyncpg's", MIN_THROUGHPUT_RATIOS_OF_ASYNCPG),
        *_judge_before(found),
        *_judge_topologies(found),
        *_judge_overload(rows),
        *_judge_calls(calls),
        *_judge_mails(mails),
        *_judge_scale(found),
    ]


def _judge_control(found: Comparison, control: str, owner: str, minimums: dict[str, float]) -> Iterator[Verdict]:
    measured = found.list_operations(control)
    for name, minimum in minimums.items():
        if name in measured:
            ratio, note = found.throughput(name, "satsuma", control), found.cpu_note(name, "satsuma", control)
            yield Verdict(f"{name}: throughput, of {owner}", ratio, minimum, True, note)


def _judge_before(found: Comparison) -> Iterator[Verdict]:
    for name in found.list_operations("before"):
        ratio, note = found.throughput(name, "satsuma", "before"), found.cpu_note(name, "satsuma", "before")
        yield Verdict(f"{name}: throughput, of before", ratio, MIN_THROUGHPUT_OF_BEFORE, True, note)


def _judge_topologies(found: Comparison) -> Iterator[Verdict]:
    if found.list_operations("split"):
        ratio = found.figures["orders", "split"].p50 / found.figures["orders", "satsuma"].p50
        note = f"{found.cpu_note('orders', 'split', 'satsuma')}; {PUBLISHED}"
        yield Verdict("orders: p50 in five processes, of one's", ratio, MAX_SPLIT_RATIO, False, note)
    if found.list_operations("celery"):
        ratio, note = found.throughput("orders", "celery", "satsuma"), found.cpu_note("orders", "celery", "satsuma")
        name = "orders: throughput with Celery, of the embedded engine's"
        yield Verdict(name, ratio, MIN_CELERY_RATIO, True, note)


def _judge_overload(rows: list[Row]) -> Iterator[Verdict]:
    found = {row.clients: row.figures for row in rows if (row.operation, row.system) == ("orders", "satsuma")}
    for clients in OVERLOAD_CLIENTS:
        if clients in found and SCALED_AT in found:
            few, many = found[SCALED_AT], found[clients]
            ratio, note = many.per_second / few.per_second, f"{many.refused:.1f} refused for each"
            yield Verdict(f"orders: {clients} clients, of {SCALED_AT}", ratio, MIN_OVERLOAD_RATIO, True, note)
            yield Verdict(f"orders: {clients} clients, p99 of p50", many.p99 / many.p50, MAX_OVERLOAD_SPREAD, False)


def _judge_calls(calls: dict[str, float]) -> Iterator[Verdict]:
    if calls:
        overhead, name = calls["local"] - calls["plain"], "interface call: µs more than a plain one"
        yield Verdict(name, overhead, MAX_CALL_OVERHEAD_MICROSECONDS, False)
        yield Verdict("call to another process, p50 in µs", calls["remote"], MAX_REMOTE_CALL_MICROSECONDS, False)


def _judge_mails(mails: Sequence[MailRow]) -> Iterator[Verdict]:
    for row in mails:
        if (row.system, row.latency_ms) == ("satsuma", FAR_MS):
            name = f"e-mails per second of a process, at {FAR_MS} ms latency"
            yield Verdict(name, row.figures.per_second, MIN_MAILS_PER_SECOND, True)


def _judge_scale(found: Comparison) -> Iterator[Verdict]:
    for operation in found.list_operations("small"):
        name = f"{operation}: time in the large shop, of the small one's"
        yield Verdict(name, found.throughput(operation, "small", "satsuma"), MAX_SCALE_RATIO, False)


def verdict_lines(found: list[Verdict], calls: dict[str, float]) -> str:
    """Render the verdicts as a table."""
    table = [f"\n{'Targets':<50} {'value':>6}   {'target':>7}"] if found else []
    for verdict in found:
        target = f"{'≥' if verdict.at_least else '≤'} {verdict.limit:>5g}"
        missed = "" if verdict.reached else "missed"
        table.append(f"{verdict.name:<50} {verdict.value:>6.2f}   {target}   {missed:<6}   {verdict.note}".rstrip())
    if calls:
        table.append(f"{'':<50} " + ", ".join(f"{name} {value:.2f} µs" for name, value in calls.items()))
    return "\n".join(table)


def document(
    plan: Plan, rows: list[Row], calls: dict[str, float], mails: Sequence[MailRow], found: list[Verdict]
) -> Results:
    """Build the content of results.json."""
    return {
        "machine": {"cpus": os.cpu_count(), "model": _read_processor_model(), "python": platform.python_version()},
        "layout": asdict(plan.layout),
        "data": {"products": plan.products, "orders": plan.orders, "small": plan.small},
        "changes": plan.changes,
        "seconds": plan.seconds,
        "rounds": plan.rounds,
        "rows": [
            {"operation": row.operation, "clients": row.clients, "system": row.system, **_rounded(asdict(row.figures))}
            for row in rows
        ],
        "calls": _rounded(calls),
        "mails": [
            {"system": row.system, "latency_ms": row.latency_ms, **_rounded(asdict(row.figures))} for row in mails
        ],
        "targets": [{**asdict(v), "value": round(v.value, 3), "reached": v.reached} for v in found],
    }


def _rounded(numbers: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in numbers.items()}


def _read_processor_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
