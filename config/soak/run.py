"""One soak from beginning to end: a shop of its own, buyers and faults, then peace, the audit and a summary."""

import json
import secrets
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.db import connections

from config.embedded import Server
from config.soak import audit, books, records, story, supervisor
from config.soak.buyers import PASSWORD, Progress, Town
from config.soak.faults import Faults
from config.soak.history import History, read
from config.soak.mail import MailServer
from config.soak.plan import ENGINES, WEB, Plan
from config.soak.recovery import Recovery
from config.soak.supervisor import Supervisor
from contexts.inventory.service import seeding
from shop.database import OUTAGES

STAFF = "staff@satsuma.example"
REST = 60.0  # seconds until all has to be final once the faults have stopped
NEWS = 2.0  # seconds between two lines of progress
TOLD = 3  # violations whose orders' stories are told


def prepare(plan: Plan) -> None:
    """Databases, tables, something to sell and a member of staff, on the soak's own server."""
    call_command("databases", stdout=sys.stderr, verbosity=0)
    call_command("migrate", verbosity=0)
    shelf = seeding.SeedCategory(slug="shelf", name="Shelf")
    goods = [
        seeding.SeedProduct(
            slug=sku.lower(), name=f"Goods {sku}", category="shelf",
            variants=[seeding.SeedVariant(sku=sku, name="One size", price=990 + 100 * n, stock=stock)],
        )
        for n, (sku, stock) in enumerate(plan.stock().items())
    ]  # fmt: skip
    seeding.seed(seeding.Catalogue(currency=settings.CURRENCY, categories=[shelf], products=goods))
    call_command("create_staff", email=STAFF, password=PASSWORD, permissions="*", stdout=sys.stderr)


class Soak:
    """What runs, and what came of it."""

    def __init__(self, plan: Plan, folder: Path, database: Server, environment: dict[str, str], buyers: int) -> None:
        self.plan, self.folder, self.buyers = plan, folder, buyers
        self.history = History(folder / "history.jsonl")
        self.mail = MailServer(self.history)
        self.supervisor = Supervisor()
        self.recovery = Recovery()
        self.progress = Progress(plan.orders)
        processes = self._processes(environment)
        sites = [f"http://127.0.0.1:{process.port}" for process in processes if process.port]
        self.town = Town(self.history, sites, plan.seed, self.progress)
        self.faults = Faults(
            plan.faults(), supervisor=self.supervisor, database=database, prefix=settings.DATABASE_PREFIX,
            mail=self.mail, history=self.history, progress=self.progress, recovery=self.recovery,
        )  # fmt: skip
        self.took: dict[str, float] = {}

    def _processes(self, environment: dict[str, str]) -> list[supervisor.Process]:
        own = environment | {"EMAIL_PORT": str(self.mail.port), "LOG_LEVEL": "WARNING"}
        found = [supervisor.web(name, own, self.folder, engine=engine) for name, engine in WEB.items()]
        found += [supervisor.engine(name, own, self.folder) for name in ENGINES]
        for process in found:
            process.environment["SITE_URL"] = f"http://127.0.0.1:{found[0].port}"
            self.supervisor.add(process)
        return found

    def run(self) -> list[audit.Violation]:
        """All of it. What was violated."""
        try:
            self._time("start", self._open)
            self._time("buy", self._buy)
            self._time("rest", self._come_to_rest)
            left = self._left()
            self._time("repeat", lambda: self.town.ask_all_again(self.plan.journeys(), self.buyers))
            self.recovery.close()
        finally:
            self.supervisor.close()
            self.mail.close()
        return left + self._audit()

    def _time(self, part: str, action: Callable[[], None]) -> None:
        began = time.monotonic()
        action()
        self.took[part] = time.monotonic() - began

    def _open(self) -> None:
        self.supervisor.await_up()
        self.town.open_accounts(STAFF)

    def _buy(self) -> None:
        self.faults.start()
        stop = threading.Event()
        news = threading.Thread(target=self._tell, args=(stop,), daemon=True)
        news.start()
        self.town.buy_all(self.plan.journeys(), self.buyers)
        stop.set()
        news.join()
        self.faults.stop()

    def _tell(self, stop: threading.Event) -> None:
        began = time.monotonic()
        while not stop.wait(NEWS):
            struck = sum(self.faults.struck.values())
            print(
                f"  {time.monotonic() - began:6.0f} s  {self.progress.finished:6} of {self.plan.orders} orders"
                f"  {struck:4} faults  {self.supervisor.starts:4} starts",
                flush=True,
            )

    def _come_to_rest(self) -> None:
        """The faults have stopped: wait until nothing is left to do, or the time for it is over."""
        deadline = time.monotonic() + REST
        while time.monotonic() < deadline and self._unfinished():
            time.sleep(0.1)

    def _unfinished(self) -> dict[str, int]:
        try:
            return books.unfinished()
        except OUTAGES:  # the driver's own sessions were cut off too
            connections.close_all()
            return {"databases": 1}

    def _left(self) -> list[audit.Violation]:
        left = self._unfinished()
        found = [
            audit.Violation("everything_is_final", name, f"{count} after {REST:.0f} s") for name, count in left.items()
        ]
        found += [audit.Violation("nothing_is_parked", "events", text) for text in books.parked()]
        return found

    def _audit(self) -> list[audit.Violation]:
        self.history.close()
        found = books.read()
        books.save(found, self.folder / "books.json")
        violations = [audit.Violation("every_process_lives", "supervisor", text) for text in self.supervisor.ended]
        return violations + audit.audit(records.sort(read(self.history.path)), found)


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
    for violation in violations[:50]:
        print(f"VIOLATED {violation.invariant}: {violation.subject} {violation.detail}", flush=True)
    known = books.load(folder / "books.json").orders
    concerned = dict.fromkeys(violation.subject for violation in violations if violation.subject in known)
    for order_id in list(concerned)[:TOLD]:
        print("\n".join(story.tell(order_id, read(soak.history.path))), flush=True)
    if violations:
        print(f"\nThe same schedule again: --seed {plan.seed} --orders {orders}", flush=True)
    return 1 if violations else 0


def summary(soak: Soak, violations: list[Any]) -> dict[str, Any]:
    """What is worth knowing of a soak, as plain numbers."""
    found = books.load(soak.folder / "books.json")
    heard = Counter()
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
        "taken over after a kill, seconds": percentiles(soak.recovery.times),
        "seconds": {part: round(seconds, 1) for part, seconds in soak.took.items()},
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
