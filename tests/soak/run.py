"""One soak test: orders under faults, a pause until everything is final, every order request again, and the audit."""

import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from django.conf import settings
from django.core.management import call_command
from django.db import connections

from contexts.inventory.service import seeding
from ops.console.request_log import RequestLog, read_request_log
from ops.launch.postgres import PostgresServer
from ops.verify import DatabaseUnreadable, Violation, verify
from shop.db.database import OUTAGE_ERRORS
from tests.soak import audit, database_state, logs, records, topology
from tests.soak.buyers import PASSWORD, BuyerPool, Progress
from tests.soak.fault_injector import FaultInjector
from tests.soak.mail_server import MailServer
from tests.soak.plan import Plan
from tests.soak.recovery import Recovery
from tests.soak.supervisor import Supervisor

STAFF_EMAIL = "staff@satsuma.example"
SETTLE_TIMEOUT_SECONDS = 180.0  # until everything has to be final after the last fault
PROGRESS_INTERVAL_SECONDS = 2.0
VERIFY_INTERVAL_SECONDS = 15.0


def prepare(plan: Plan) -> None:
    """Create databases, tables, a catalogue and a member of staff on the database server of the soak test."""
    call_command("databases", stdout=sys.stderr, verbosity=0)
    call_command("migrate", verbosity=0)
    call_command("databases", verbosity=0)
    shelf = seeding.SeedCategory(slug="shelf", name="Shelf")
    goods = [
        seeding.SeedProduct(
            slug=sku.lower(), name=f"Goods {sku}", category="shelf",
            variants=[seeding.SeedVariant(sku=sku, name="One size", price=990 + 100 * n, stock=stock)],
        )
        for n, (sku, stock) in enumerate(plan.stock().items())
    ]  # fmt: skip
    seeding.seed(seeding.SeedCatalogue(currency=settings.CURRENCY, categories=[shelf], products=goods))
    call_command("create_staff", email=STAFF_EMAIL, password=PASSWORD, permissions="*", stdout=sys.stderr)


class Soak:
    """The parts of a running soak test, and its results."""

    def __init__(
        self, plan: Plan, folder: Path, database: PostgresServer, environment: dict[str, str], buyers: int
    ) -> None:
        self.plan, self.folder, self.buyers = plan, folder, buyers
        self.history = RequestLog(folder / "history.jsonl")
        self.mail = MailServer(self.history)
        self.supervisor = Supervisor()
        self.recovery = Recovery(self.history)
        self.progress = Progress(plan.orders)
        processes = self._create_processes(environment)
        self.buyer_pool = BuyerPool(self.history, topology.Sites(processes), plan.seed, self.progress)
        self.faults = FaultInjector(
            plan.faults(), supervisor=self.supervisor, database=database, prefix=settings.DATABASE_PREFIX,
            mail=self.mail, history=self.history, progress=self.progress, recovery=self.recovery,
        )  # fmt: skip
        self.seconds: dict[str, float] = {}
        self.violations: set[Violation] = set()  # found while it ran
        self.verification_count = 0

    def _create_processes(self, environment: dict[str, str]) -> list[topology.RunningProcess]:
        own = environment | {"EMAIL_PORT": str(self.mail.port), "LOG_LEVEL": "WARNING"} | self.plan.inside()
        found = topology.build_processes(self.plan.parts, own, self.folder)
        for running in found:
            self.supervisor.add(running.process)
        return found

    def run(self) -> list[Violation]:
        """Run everything and return the violations."""
        try:
            self._time("start", self._open)
            self._time("buy", self._buy)
            self._time("rest", self._await_settled)
            self.violations |= set(self._find_unsettled())
            self._time("repeat", lambda: self.buyer_pool.repeat_orders(self.plan.journeys(), self.buyers))
            self.recovery.close()
        finally:
            self.supervisor.close()
            self.mail.close()
            self.history.close()
        return sorted(self.violations) + self._audit()

    def _time(self, part: str, action: Callable[[], None]) -> None:
        began = time.monotonic()
        action()
        self.seconds[part] = time.monotonic() - began

    def _open(self) -> None:
        self.supervisor.await_up()
        self.buyer_pool.open_accounts(STAFF_EMAIL)

    def _buy(self) -> None:
        self.faults.start()
        stop = threading.Event()
        with ThreadPoolExecutor(2) as pool:
            tasks = [pool.submit(self._print_progress, stop), pool.submit(self._watch, stop)]
            try:
                self.buyer_pool.run_journeys(self.plan.journeys(), self.buyers)
            finally:
                stop.set()
            for task in tasks:
                task.result()

    def _print_progress(self, stop: threading.Event) -> None:
        began = time.monotonic()
        while not stop.wait(PROGRESS_INTERVAL_SECONDS):
            faults = sum(self.faults.injected_counts.values())
            print(
                f"  {time.monotonic() - began:6.0f} s  {self.progress.finished_count:6} of {self.plan.orders} orders"
                f"  {faults:4} faults  {self.supervisor.starts:4} starts  {len(self.violations)} violations",
                flush=True,
            )

    def _watch(self, stop: threading.Event) -> None:
        """Verify the invariants that always hold, again and again while the shop runs."""
        while not stop.wait(VERIFY_INTERVAL_SECONDS):
            try:
                self.violations |= set(verify().violations)
                self.verification_count += 1
            except DatabaseUnreadable:
                connections.close_all()

    def _await_settled(self) -> None:
        """Stop the faults, then wait until everything is final or the timeout is over."""
        deadline = time.monotonic() + SETTLE_TIMEOUT_SECONDS
        self.faults.stop()
        while time.monotonic() < deadline and self._count_unfinished():
            time.sleep(0.1)

    def _count_unfinished(self) -> dict[str, int]:
        try:
            return database_state.count_unfinished()
        except OUTAGE_ERRORS:  # the sessions of this process were terminated too
            connections.close_all()
            return {"databases": 1}

    def _find_unsettled(self) -> list[Violation]:
        left = self._count_unfinished()
        found = [
            Violation("everything_is_final", name, f"{count} after {SETTLE_TIMEOUT_SECONDS:.0f} s")
            for name, count in left.items()
        ]
        found += [Violation("nothing_is_parked", "events", text) for text in database_state.list_parked_events()]
        return found

    def _audit(self) -> list[Violation]:
        """Check at the end: processes, logs, the invariants of the databases, and the databases against the request log."""
        found = database_state.read_state()
        database_state.save_state(found, self.folder / "state.json")
        ended = [Violation("every_process_lives", "supervisor", text) for text in self.supervisor.ended]
        wrong = [
            Violation("every_error_is_an_outage", name, text) for name, text in logs.find_unexpected_lines(self.folder)
        ]
        broken = audit.audit(records.sort_history(read_request_log(self.history.path)), found)
        return [*ended, *wrong, *verify(is_idle=True).violations, *broken]
