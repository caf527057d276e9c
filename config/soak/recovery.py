"""How long it takes until others carry on what a killed process had in hand, as the databases show it.

What it had in hand are the leases that lived when it was dead. One that somebody else holds is renewed or given back;
one of the dead runs out as it is, and whoever takes over raises `attempt`.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import connections

from config.soak.history import History
from shop.database import OUTAGES, rows

EVERY = 0.1  # seconds between two looks
GONE = object()

LEASED = (
    ("orders", "orders_order"),
    ("payments", "payments_payment"),
    ("notifications", "notifications_message"),
    *((context, "shop_inboxrow") for context in ("orders", "inventory", "payments", "users", "notifications")),
)


@dataclass(frozen=True)
class Orphan:
    """A lease that was alive when its holder may have died."""

    alias: str
    table: str
    pk: Any
    attempt: int
    until: Any  # as the row says: who lives renews it, and is no orphan's holder
    runs_out: float  # time.monotonic()
    killed: float


class Recovery:
    """Watches the orphans of each kill, in a thread of its own. `times` are seconds from the kill to the takeover, by table."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.times: dict[str, list[float]] = defaultdict(list)
        self.waiting: list[Orphan] = []
        self.lock = threading.Lock()
        self.closing = threading.Event()
        self.thread = threading.Thread(target=self._run, name="recovery", daemon=True)
        self.thread.start()

    def watch(self, killed: str) -> None:
        """Note what is leased at this moment, right after a kill. While the database is away there is nothing to see."""
        now = time.monotonic()
        found = [
            Orphan(alias, table, pk, attempt, until, now + left, now)
            for alias, table in LEASED
            for pk, attempt, until, left in _quietly(lambda alias=alias, table=table: _leased(alias, table))
        ]
        with self.lock:
            self.waiting += found

    def close(self) -> None:
        """Stop watching once nothing is waited for."""
        self.closing.set()
        self.thread.join()

    def _run(self) -> None:
        while not self.closing.wait(EVERY) or self.waiting:
            with self.lock:
                waiting = list(self.waiting)
            over = {orphan for orphan in waiting if self._is_over(orphan, _state(orphan))}
            with self.lock:
                self.waiting = [orphan for orphan in self.waiting if orphan not in over]

    def _is_over(self, orphan: Orphan, state: Any) -> bool:
        """Whether somebody took over, or its holder lives and has ended it."""
        if state is None:
            return False
        if state is GONE:
            return True
        attempt, until = state
        now = time.monotonic()
        if attempt > orphan.attempt and now >= orphan.runs_out:
            self.times[orphan.table].append(now - orphan.killed)
            self.history.note(
                "taken over", kind=orphan.table, target=orphan.alias, key=str(orphan.pk), seconds=now - orphan.killed
            )
        return attempt > orphan.attempt or until != orphan.until


def _leased(alias: str, table: str) -> list[tuple]:
    left = "extract(epoch FROM lease_until - now())::float"
    return rows(alias, f"SELECT id, attempt, lease_until, {left} FROM {table} WHERE lease_until > now()")


def _state(orphan: Orphan) -> Any:
    found = _quietly(lambda: [rows(orphan.alias, _LOOK.format(orphan.table), [orphan.pk])])
    if not found:
        return None
    return found[0][0] if found[0] else GONE


_LOOK = "SELECT attempt, lease_until FROM {} WHERE id = %s"


def _quietly(look: Callable[[], list[Any]]) -> list[Any]:
    """What is seen; nothing during an outage."""
    try:
        return look()
    except OUTAGES:
        connections.close_all()
        return []
