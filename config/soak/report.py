"""What came of a soak, for people: a summary in numbers, what was violated, and the stories of the orders concerned."""

import json
import secrets
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from config.embedded import Server
from config.soak import books, logs, story
from config.soak.history import Entry, read
from config.soak.plan import Plan
from config.soak.run import Soak, prepare
from config.verify import Violation

NAMED = 50  # violations that are named
TOLD = 3  # orders whose stories are told


def run(
    *, seed: int | None, orders: int, mode: str, engine: str, folder: Path, database: Server, environment: dict[str, str],
    buyers: int,
) -> int:  # fmt: skip
    """Run a soak, print what came of it, and return the exit status: 1 where anything was violated."""
    plan = Plan(secrets.randbelow(10**6) if seed is None else seed, orders, mode, engine)
    schedule = f"{orders} orders, {len(plan.faults())} faults, schedule {plan.fingerprint}"
    print(f"Soak of a {mode}, engine {engine}, with seed {plan.seed}: {schedule}", flush=True)
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
    plan = soak.plan
    again = f"--seed {plan.seed} --orders {plan.orders} --mode {plan.mode} --engine {plan.engine}"
    print(f"\nThe same schedule again: {again}", flush=True)


def summary(soak: Soak, violations: list[Violation]) -> dict[str, Any]:
    """What is worth knowing of a soak, as plain numbers."""
    orders = books.load(soak.folder / "books.json").orders.values()
    history = list(read(soak.history.path))
    struck = soak.faults.struck
    return {
        "mode": soak.plan.mode,
        "engine": soak.plan.engine,
        "seed": soak.plan.seed,
        "orders": dict(Counter(order.status for order in orders)),
        "kills": sum(count for name, count in struck.items() if name.startswith(("kill", "database", "broker-kill"))),
        "faults": dict(sorted(struck.items())),
        "starts": soak.supervisor.starts,
        "heard": heard(history),
        "taken over after a kill, seconds": {
            table: percentiles(times) for table, times in sorted(soak.recovery.times.items())
        },
        "an order is answered after the database is back, seconds": percentiles(list(back_again(history))),
        "seconds": {part: round(seconds, 1) for part, seconds in soak.took.items()},
        "looks while it ran": soak.looks,
        "logged": logs.counts(soak.folder),
        "violations": len(violations),
    }


def heard(history: list[Entry]) -> dict[str, int]:
    """How often buyers met an error of the server or no answer, and what the mail server did."""
    counts: Counter[str] = Counter()
    taken: Counter[str] = Counter()
    for entry in history:
        if entry["event"] == "answered" and entry["status"] >= 500:
            counts[str(entry["status"])] += 1
        elif entry["event"] == "lost":
            counts["answers lost"] += 1
        elif entry["event"] == "mail":
            counts[f"mails {entry['kind']}"] += 1
            taken[entry["key"]] += bool(entry["key"])
    counts["mails seen again"] = sum(count - 1 for count in taken.values() if count > 1)
    return dict(sorted(counts.items()))


def back_again(history: list[Entry]) -> Iterator[float]:
    """Seconds from each start of a killed database to the next order that is answered."""
    back = None
    for entry in history:
        if entry.get("kind") == "database is back":
            back = entry["at"]
        elif back and entry.get("purpose") == "order" and entry.get("status", 500) < 500:
            yield entry["at"] - back
            back = None


def percentiles(times: list[float]) -> dict[str, float]:
    """How many, and the usual three; seconds."""
    if not times:
        return {"count": 0}
    ordered = sorted(times)
    at = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return {"count": len(times)} | {
        name: round(ordered[min(len(ordered) - 1, int(p * len(ordered)))], 2) for name, p in at.items()
    }
