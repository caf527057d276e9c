"""The report of a soak test: a summary in numbers, the violations, and the histories of the orders concerned."""

import json
import secrets
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ops.console import order_history
from ops.console.request_log import Entry, read_request_log
from ops.launch.postgres import PostgresServer
from ops.verify import Violation
from tests.soak import database_state, logs
from tests.soak.plan import Plan
from tests.soak.run import Soak, prepare

MAX_LISTED_VIOLATIONS = 50
MAX_DESCRIBED_ORDERS = 3


def run(
    *, seed: int | None, orders: int, mode: str, engine: str, folder: Path, database: PostgresServer,
    environment: dict[str, str], buyers: int,
) -> int:  # fmt: skip
    """Run a soak test, print its report, and return the exit status: 1 if anything was violated."""
    plan = Plan(secrets.randbelow(10**6) if seed is None else seed, orders, mode, engine)
    schedule = f"{orders} orders, {len(plan.faults())} faults, schedule {plan.fingerprint}"
    print(f"Soak test: mode {mode}, engine {engine}, seed {plan.seed}: {schedule}", flush=True)
    prepare(plan)
    soak = Soak(plan, folder, database, environment, buyers)
    violations = soak.run()
    print(json.dumps(summarize(soak, violations), indent=1), flush=True)
    if violations:
        print_violations(soak, violations)
    return 1 if violations else 0


def print_violations(soak: Soak, violations: list[Violation]) -> None:
    """Print the violations, the histories of the orders concerned, and how to run the same schedule again."""
    for violation in violations[:MAX_LISTED_VIOLATIONS]:
        print(f"VIOLATED {violation.invariant}: {violation.subject} {violation.detail}")
    known = database_state.load_state(soak.folder / "state.json").orders
    concerned = dict.fromkeys(violation.subject for violation in violations if violation.subject in known)
    for order_id in list(concerned)[:MAX_DESCRIBED_ORDERS]:
        print("", *order_history.describe_order(order_id, read_request_log(soak.history.path)), sep="\n")
    plan = soak.plan
    options = f"--seed {plan.seed} --orders {plan.orders} --mode {plan.mode} --engine {plan.engine}"
    print(f"\nTo run the same schedule again: {options}", flush=True)


def summarize(soak: Soak, violations: list[Violation]) -> dict[str, Any]:
    """Build the summary of a soak test."""
    orders = database_state.load_state(soak.folder / "state.json").orders.values()
    history = list(read_request_log(soak.history.path))
    faults = soak.faults.injected_counts
    return {
        "mode": soak.plan.mode,
        "engine": soak.plan.engine,
        "seed": soak.plan.seed,
        "orders": dict(Counter(order.status for order in orders)),
        "kills": sum(count for name, count in faults.items() if name.startswith(("kill", "database", "broker-kill"))),
        "faults": dict(sorted(faults.items())),
        "starts": soak.supervisor.starts,
        "failures": count_failures(history),
        "takeover after a kill, seconds": {
            table: compute_percentiles(times) for table, times in sorted(soak.recovery.times.items())
        },
        "first order after a database restart, seconds": compute_percentiles(list(measure_database_recovery(history))),
        "seconds": {part: round(seconds, 1) for part, seconds in soak.seconds.items()},
        "verifications while it ran": soak.verification_count,
        "log_events": logs.count_events(soak.folder),
        "violations": len(violations),
    }


def count_failures(history: list[Entry]) -> dict[str, int]:
    """Count server errors and lost responses as the buyers saw them, and what the mail server did."""
    counts: Counter[str] = Counter()
    received: Counter[str] = Counter()
    for entry in history:
        if entry["event"] == "answered" and entry["status"] >= 500:
            counts[str(entry["status"])] += 1
        elif entry["event"] == "lost":
            counts["responses lost"] += 1
        elif entry["event"] == "mail":
            counts[f"mails {entry['kind']}"] += 1
            received[entry["key"]] += bool(entry["key"])
    counts["mails received again"] = sum(count - 1 for count in received.values() if count > 1)
    return dict(sorted(counts.items()))


def measure_database_recovery(history: list[Entry]) -> Iterator[float]:
    """Yield the seconds from each restart of the database to the next order that is answered."""
    started_at = None
    for entry in history:
        if entry.get("kind") == "database started":
            started_at = entry["at"]
        elif started_at and entry.get("purpose") == "order" and entry.get("status", 500) < 500:
            yield entry["at"] - started_at
            started_at = None


def compute_percentiles(times: list[float]) -> dict[str, float]:
    """Return the count, the median, the 99th percentile and the maximum, in seconds."""
    if not times:
        return {"count": 0}
    ordered = sorted(times)
    at = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return {"count": len(times)} | {
        name: round(ordered[min(len(ordered) - 1, int(p * len(ordered)))], 2) for name, p in at.items()
    }
