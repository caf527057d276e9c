"""One soak from beginning to end: buyers and faults, then peace, everything once more, and the audit."""

import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from django.conf import settings
from django.core.management import call_command
from django.db import connections

from config.embedded import Server
from config.soak import audit, books, logs, records, topology
from config.soak.buyers import PASSWORD, Progress, Town
from config.soak.faults import Faults
from config.soak.history import History, read
from config.soak.mail import MailServer
from config.soak.plan import Plan
from config.soak.recovery import Recovery
from config.soak.supervisor import Supervisor
from config.verify import Outage, Violation, verify
from contexts.inventory.service import seeding
from shop.database import OUTAGES

STAFF = "staff@satsuma.example"
REST = 60.0  # seconds until all has to be final once the faults have stopped
NEWS = 2.0  # seconds between two lines of progress
WATCH = 15.0  # seconds between two looks at the books while it runs


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
        self.recovery = Recovery(self.history)
        self.progress = Progress(plan.orders)
        processes = self._processes(environment)
        self.town = Town(self.history, topology.Sites(processes), plan.seed, self.progress)
        self.faults = Faults(
            plan.faults(), supervisor=self.supervisor, database=database, prefix=settings.DATABASE_PREFIX,
            mail=self.mail, history=self.history, progress=self.progress, recovery=self.recovery,
        )  # fmt: skip
        self.took: dict[str, float] = {}
        self.seen: set[Violation] = set()  # while it ran
        self.looks = 0

    def _processes(self, environment: dict[str, str]) -> list[topology.Running]:
        own = environment | {"EMAIL_PORT": str(self.mail.port), "LOG_LEVEL": "WARNING"} | self.plan.inside()
        found = topology.build(self.plan.parts, own, self.folder)
        for running in found:
            self.supervisor.add(running.process)
        return found

    def run(self) -> list[Violation]:
        """All of it. What was violated."""
        try:
            self._time("start", self._open)
            self._time("buy", self._buy)
            self._time("rest", self._come_to_rest)
            self.seen |= set(self._left())
            self._time("repeat", lambda: self.town.ask_all_again(self.plan.journeys(), self.buyers))
            self.recovery.close()
        finally:
            self.supervisor.close()
            self.mail.close()
            self.history.close()
        return sorted(self.seen) + self._audit()

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
        with ThreadPoolExecutor(2) as pool:
            aside = [pool.submit(self._tell, stop), pool.submit(self._watch, stop)]
            try:
                self.town.buy_all(self.plan.journeys(), self.buyers)
            finally:
                stop.set()
            for one in aside:
                one.result()

    def _tell(self, stop: threading.Event) -> None:
        began = time.monotonic()
        while not stop.wait(NEWS):
            struck = sum(self.faults.struck.values())
            print(
                f"  {time.monotonic() - began:6.0f} s  {self.progress.finished:6} of {self.plan.orders} orders"
                f"  {struck:4} faults  {self.supervisor.starts:4} starts  {len(self.seen)} violations",
                flush=True,
            )

    def _watch(self, stop: threading.Event) -> None:
        """What holds at every instant holds in the middle of all this too."""
        while not stop.wait(WATCH):
            try:
                self.seen |= set(verify().violations)
                self.looks += 1
            except Outage:
                connections.close_all()

    def _come_to_rest(self) -> None:
        """Stop the faults, and wait until nothing is left to do, or the time for it is over."""
        deadline = time.monotonic() + REST
        self.faults.stop()
        while time.monotonic() < deadline and self._unfinished():
            time.sleep(0.1)

    def _unfinished(self) -> dict[str, int]:
        try:
            return books.unfinished()
        except OUTAGES:  # the driver's own sessions were cut off too
            connections.close_all()
            return {"databases": 1}

    def _left(self) -> list[Violation]:
        left = self._unfinished()
        found = [Violation("everything_is_final", name, f"{count} after {REST:.0f} s") for name, count in left.items()]
        found += [Violation("nothing_is_parked", "events", text) for text in books.parked()]
        return found

    def _audit(self) -> list[Violation]:
        """What all sides say at the end: the processes, their logs, the databases by themselves, and against the history."""
        found = books.read()
        books.save(found, self.folder / "books.json")
        ended = [Violation("every_process_lives", "supervisor", text) for text in self.supervisor.ended]
        wrong = [Violation("every_error_is_an_outage", name, text) for name, text in logs.mistakes(self.folder)]
        told = audit.audit(records.sort(read(self.history.path)), found)
        return [*ended, *wrong, *verify(at_rest=True).violations, *told]
