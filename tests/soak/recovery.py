"""Measure how long it takes until another process takes over the work of a killed one, from the leases in the databases.

The work of a killed process are the leases that are alive after the kill. A lease whose holder lives is renewed or released;
that of a killed process expires unchanged, and the process that takes over increments `attempt`.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import connections

from config.contexts import ALL_CONTEXTS
from ops.console.request_log import RequestLog
from shop.db.database import OUTAGE_ERRORS, fetch_rows

POLL_INTERVAL_SECONDS = 0.1
ROW_DELETED = object()

LEASED_TABLES = (
    ("orders", "orders_order"),
    ("payments", "payments_payment"),
    ("notifications", "notifications_message"),
    *((context, "shop_inboxrow") for context in ALL_CONTEXTS),
)


@dataclass(frozen=True)
class OrphanedLease:
    """A lease that was alive when its holder may have died."""

    alias: str
    table: str
    pk: Any
    attempt: int
    lease_until: Any  # as the row has it: a holder that lives renews it
    expires_at: float  # time.monotonic()
    killed: float


class Recovery:
    """Watch the orphaned leases of each kill in a thread. `times` has the seconds from kill to takeover, by table."""

    def __init__(self, history: RequestLog) -> None:
        self.history = history
        self.times: dict[str, list[float]] = defaultdict(list)
        self.waiting: list[OrphanedLease] = []
        self.lock = threading.Lock()
        self.closing = threading.Event()
        self.thread = threading.Thread(target=self._run, name="recovery", daemon=True)
        self.thread.start()

    def watch(self, killed: str) -> None:
        """Note the leases that are alive right after a kill. During an outage of the database none are found."""
        now = time.monotonic()
        found = [
            OrphanedLease(alias, table, pk, attempt, until, now + left, now)
            for alias, table in LEASED_TABLES
            for pk, attempt, until, left in _read_unless_outage(
                lambda alias=alias, table=table: _find_leases(alias, table)
            )
        ]
        with self.lock:
            self.waiting += found

    def close(self) -> None:
        """Stop once no lease is watched any more."""
        self.closing.set()
        self.thread.join()

    def _run(self) -> None:
        while not self.closing.wait(POLL_INTERVAL_SECONDS) or self.waiting:
            with self.lock:
                waiting = list(self.waiting)
            over = {orphan for orphan in waiting if self._is_over(orphan, _read_lease(orphan))}
            with self.lock:
                self.waiting = [orphan for orphan in self.waiting if orphan not in over]

    def _is_over(self, orphan: OrphanedLease, state: Any) -> bool:
        """Return whether the lease was taken over, or its holder is alive and has renewed or released it."""
        if state is None:
            return False
        if state is ROW_DELETED:
            return True
        attempt, until = state
        now = time.monotonic()
        if attempt > orphan.attempt and now >= orphan.expires_at:
            self.times[orphan.table].append(now - orphan.killed)
            self.history.note(
                "taken over", kind=orphan.table, target=orphan.alias, key=str(orphan.pk), seconds=now - orphan.killed
            )
        return attempt > orphan.attempt or until != orphan.lease_until


def _find_leases(alias: str, table: str) -> list[tuple]:
    left = "extract(epoch FROM lease_until - now())::float"
    return fetch_rows(alias, f"SELECT id, attempt, lease_until, {left} FROM {table} WHERE lease_until > now()")


def _read_lease(orphan: OrphanedLease) -> Any:
    found = _read_unless_outage(lambda: [fetch_rows(orphan.alias, _LEASE_SQL.format(orphan.table), [orphan.pk])])
    if not found:
        return None
    return found[0][0] if found[0] else ROW_DELETED


_LEASE_SQL = "SELECT attempt, lease_until FROM {} WHERE id = %s"


def _read_unless_outage(read: Callable[[], list[Any]]) -> list[Any]:
    """Return what `read` returns; nothing during an outage."""
    try:
        return read()
    except OUTAGE_ERRORS:
        connections.close_all()
        return []
