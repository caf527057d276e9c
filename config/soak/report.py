"""What came of a soak, for people: a summary in numbers, what was violated, and the stories of the orders concerned."""

import json
import secrets
from collections import Counter
from pathlib import Path
from typing import Any

from config.embedded import Server
from config.soak import books, logs, story
from config.soak.history import read
from config.soak.plan import Plan
from config.soak.run import Soak, prepare
from config.verify import Violation

NAMED = 50  # violations that are named
TOLD = 3  # orders whose stories are told


def run(
    *, seed: int | None, orders: int, folder: Path, database: Server, environment: dict[str, str], buyers: int
) -> int:
    """Run a soak, print what came of it, and return the exit status: 1 where anything was violated."""
    plan = Plan(secrets.randbelow(10**6) if seed is None else seed, orders)
    print(
        f"Soak with seed {plan.seed}: {orders} orders, {len(plan.faults())} faults, schedule {plan.fingerprint}",
        flush=True,
    )
    prepare(plan)
    soak = Soak(plan, folder, database, environment, buyers)
    violations = soak.run()
    print(json.dumps(summary(soak, violations), indent=1), flush=True)
    if violations:
        accuse(soak, violations)
    return 1 if violations else 0


def accuse(soak: Soak, violations: list[Violation]) -> None:
    """Name what was violated, tell the stories, and say how to see the same again."""
    for violation in violations[:NAMED]:
        print(f"VIOLATED {violation.invariant}: {violation.subject} {violation.detail}")
    known = books.load(soak.folder / "books.json").orders
    concerned = dict.fromkeys(violation.subject for violation in violations if violation.subject in known)
    for order_id in list(concerned)[:TOLD]:
        print("", *story.tell(order_id, read(soak.history.path)), sep="\n")
    print(f"\nThe same schedule again: --seed {soak.plan.seed} --orders {soak.plan.orders}", flush=True)


def summary(soak: Soak, violations: list[Any]) -> dict[str, Any]:
    """What is worth knowing of a soak, as plain numbers."""
    found = books.load(soak.folder / "books.json")
    heard: Counter[str] = Counter()
    for entry in read(soak.history.path):
        if entry["event"] == "answered" and entry["status"] >= 500:
            heard[str(entry["status"])] += 1
        elif entry["event"] in ("lost", "mail"):
            heard["answers lost" if entry["event"] == "lost" else f"mail {entry['kind']}"] += 1
    struck = soak.faults.struck
    return {
        "seed": soak.plan.seed,
        "orders": dict(Counter(order.status for order in found.orders.values())),
        "kills": sum(count for name, count in struck.items() if name.startswith(("kill", "database"))),
        "faults": dict(sorted(struck.items())),
        "starts": soak.supervisor.starts,
        "heard": dict(sorted(heard.items())),
        "taken over after a kill, seconds": {
            table: percentiles(times) for table, times in sorted(soak.recovery.times.items())
        },
        "seconds": {part: round(seconds, 1) for part, seconds in soak.took.items()},
        "looks while it ran": soak.looks,
        "warnings": logs.counts(soak.folder),
        "violations": len(violations),
    }


def percentiles(times: list[float]) -> dict[str, float]:
    """How many, and the usual three; seconds."""
    if not times:
        return {"count": 0}
    ordered = sorted(times)
    at = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return {"count": len(times)} | {
        name: round(ordered[min(len(ordered) - 1, int(p * len(ordered)))], 2) for name, p in at.items()
    }
