"""What was found: as lines on the screen, as a document, and held against what Satsuma wants to reach."""

import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.measure import Figures
from bench.plan import SCALED_AT, Plan

LINE = "{:<7} {:>3}  {:<8} {:>8} {:>7} {:>7} {:>7}   {:>6} {:>6}   {:>5} {:>5} {:>6}   {:>6} {:>7}"
HEADINGS = "\n" + LINE.format(
    "", "", "", "per s", "p50 ms", "p95", "p99", "CPU ms", "+ PG", "SQL", "+ txn", "writes", "drain", "loader"
)
RATIOS = {"orders": 0.35, "list": 2.0, "detail": 2.0}  # at least, of the control's throughput at SCALED_AT clients
CALL = 1.0  # microseconds more than a plain call, at most
REMOTE = 500.0  # microseconds until half of the calls to another process are answered, at most
SPLIT = 2.5  # times the p50 of one process, at most
# "Towards Modern Development of Cloud Applications" (HotOS 2023) has up to 15 times the latency and 9 times the cost.
PUBLISHED = "published: up to 15 times the time, 9 times the CPU"
CELERY = 0.7  # at least, of the throughput with the embedded engine
SCALE = 1.3  # times as long as in a small shop, at most


@dataclass(frozen=True)
class Row:
    """The median figures of one operation, number of clients and system."""

    operation: str
    clients: int
    system: str
    figures: Figures


@dataclass(frozen=True)
class Verdict:
    """One target, and what there is of it."""

    name: str
    value: float
    limit: float
    at_least: bool
    note: str = ""

    @property
    def reached(self) -> bool:
        return self.value >= self.limit if self.at_least else self.value <= self.limit


def say(text: str) -> None:
    print(text, flush=True)


def lines(rows: list[Row]) -> str:
    return "\n".join(_line(row) for row in rows)


def _line(row: Row) -> str:
    f = row.figures
    return LINE.format(
        row.operation, row.clients, row.system, f"{f.per_second:.1f}", f"{f.p50:.1f}", f"{f.p95:.1f}", f"{f.p99:.1f}",
        f"{f.app_cpu:.2f}", f"{f.database_cpu:.2f}", f"{f.statements:.1f}", f"{f.frame:.1f}", f"{f.writes:.1f}",
        f"{f.drain:.2f} s", f"{f.loader_cpu:.2f}",
    )  # fmt: skip


def verdicts(rows: list[Row], calls: dict[str, float]) -> list[Verdict]:
    """Each target that this run can speak to."""
    speed = {(r.operation, r.system): r.figures.per_second for r in rows if r.clients == SCALED_AT}
    cpu = {(r.operation, r.system): r.figures.app_cpu + r.figures.database_cpu for r in rows if r.clients == SCALED_AT}
    found = []
    for name, least in RATIOS.items():
        ours, theirs = (name, "satsuma"), (name, "control")
        if theirs in speed:
            note = f"{cpu[ours] / cpu[theirs]:.2f} times the CPU"
            found.append(Verdict(f"{name}: throughput, of the control's", speed[ours] / speed[theirs], least, True, note))
    if ("orders", "split") in speed:
        waits = {r.system: r.figures.p50 for r in rows if (r.operation, r.clients) == ("orders", SCALED_AT)}
        note = f"{cpu['orders', 'split'] / cpu['orders', 'satsuma']:.2f} times the CPU; {PUBLISHED}"
        found.append(Verdict("orders: p50 in five processes, of one's", waits["split"] / waits["satsuma"], SPLIT, False, note))
    if calls:
        found.append(Verdict("interface call: µs more than a plain one", calls["local"] - calls["plain"], CALL, False))
        found.append(Verdict("call to another process, p50 in µs", calls["remote"], REMOTE, False))
    if ("orders", "celery") in speed:
        note = f"{cpu['orders', 'celery'] / cpu['orders', 'satsuma']:.2f} times the CPU"
        ratio = speed["orders", "celery"] / speed["orders", "satsuma"]
        found.append(Verdict("orders: throughput with Celery, of the embedded engine's", ratio, CELERY, True, note))
    for operation, system in speed:
        if system == "small":
            slower = speed[operation, "small"] / speed[operation, "satsuma"]
            found.append(Verdict(f"{operation}: time in the large shop, of the small one's", slower, SCALE, False))
    return found


def verdict_lines(found: list[Verdict], calls: dict[str, float]) -> str:
    told = [f"\n{'Targets':<50} {'found':>6}   {'wanted':>7}"] if found else []
    for one in found:
        wanted = f"{'≥' if one.at_least else '≤'} {one.limit:>5g}"
        missed = "" if one.reached else "missed"
        told.append(f"{one.name:<50} {one.value:>6.2f}   {wanted}   {missed:<6}   {one.note}".rstrip())
    if calls:
        told.append(f"{'':<50} " + ", ".join(f"{name} {value:.2f} µs" for name, value in calls.items()))
    return "\n".join(told)


def document(plan: Plan, rows: list[Row], calls: dict[str, float], found: list[Verdict]) -> dict[str, Any]:
    """results.json."""
    return {
        "machine": {"cpus": os.cpu_count(), "model": _model(), "python": platform.python_version()},
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
        "targets": [{**asdict(v), "value": round(v.value, 3), "reached": v.reached} for v in found],
    }


def _rounded(numbers: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in numbers.items()}


def _model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
