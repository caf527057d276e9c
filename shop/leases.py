"""Leases: one worker at a time carries a row on; a worker that died or was paused loses it to the next.

A lease is a few columns of the row itself (`Leased`), taken by one conditional UPDATE that raises
`attempt`. It lasts LEASE and is renewed each second, by one UPDATE per table for all that the process holds. The
holder's writes all say `WHERE attempt = mine`: no row means that somebody else has taken over, and the holder stops.
"""

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import structlog
from django.db import connections, models

from shop.database import OUTAGES, changed, columns, drop_broken_connections, instances, rows

LEASE = timedelta(seconds=5)
RENEWAL = 1.0  # seconds
BACKOFF_CAP = 10.0  # seconds

log = structlog.get_logger(__name__)


class Leased(models.Model):
    """Work that one worker at a time may carry on. `attempt` fences: every write of the holder says WHERE attempt = mine."""

    attempt = models.IntegerField(default=0, db_default=0)
    lease_until = models.DateTimeField(null=True, blank=True)
    due_at = models.DateTimeField(null=True, blank=True, help_text="When the sweeper looks at it next; never if empty.")
    woken = models.BooleanField(default=False, db_default=False, help_text="Something happened while the lease was busy.")

    class Meta:
        abstract = True


M = TypeVar("M", bound=Leased)


class Fenced(Exception):
    """Somebody else has taken over this work; nothing more of it may be written here."""


def take(model: type[M], alias: str, pk: Any) -> M | None:
    """The row, with its lease taken; or None when another worker holds it, who is then told to look once more.

    It is due again when the lease has run out, behind all that is due by then, in case its holder ends without a word.
    The row's `taken_at` is the database's time: what its TTLs are compared with.
    Raises model.DoesNotExist for an unknown key.
    """
    found = instances(
        model,
        alias,
        f"""UPDATE {model._meta.db_table} SET
                woken = coalesce(lease_until > now(), false),
                attempt = attempt + (lease_until IS NULL OR lease_until <= now())::int,
                due_at = CASE WHEN lease_until > now() THEN due_at ELSE now() + %s END,
                lease_until = CASE WHEN lease_until > now() THEN lease_until ELSE now() + %s END
            WHERE {model._meta.pk.column} = %s RETURNING {columns(model)}, now()""",
        [LEASE, LEASE, pk],
        also=("taken_at",),
    )
    if not found:
        raise model.DoesNotExist(pk)  # type: ignore[attr-defined]
    [row] = found
    return None if row.woken else row


def take_due(model: type[M], alias: str, limit: int) -> list[M]:
    """As `take`, of so many rows that want attention and that nobody holds, the longest overdue first."""
    table, key = model._meta.db_table, model._meta.pk.column
    return instances(
        model,
        alias,
        f"""UPDATE {table} SET attempt = attempt + 1, woken = false, lease_until = now() + %s, due_at = now() + %s
            WHERE {key} = ANY(ARRAY({_DUE.format(table=table, key=key)})) RETURNING {columns(model)}, now()""",
        [LEASE, LEASE, limit],
        also=("taken_at",),
    )


# Whoever writes to a row at this moment is at it.
_DUE = """SELECT {key} FROM {table} WHERE due_at <= now() AND (lease_until IS NULL OR lease_until <= now())
          ORDER BY due_at LIMIT %s FOR UPDATE SKIP LOCKED"""


def due(model: type[Leased], alias: str, limit: int = 20) -> list[Any]:
    """Keys of rows that want attention and that nobody holds, the longest overdue first."""
    sql = _DUE.format(table=model._meta.db_table, key=model._meta.pk.column)
    return [key for (key,) in rows(alias, sql, [limit])]


def backoff(tries: int, first: float = 0.1) -> timedelta:
    """How long to wait after so many tries: doubling, capped, with jitter so that the many do not come back as one."""
    return timedelta(seconds=min(BACKOFF_CAP, first * 2**min(tries, 20)) * random.uniform(0.5, 1))


def work_off(model: type[Leased], alias: str, work: Callable[[Any], object]) -> None:
    """Do `work` for each key that is due. One row's trouble is logged and does not keep the others waiting."""
    for key in due(model, alias):
        try:
            work(key)
        except OUTAGES as error:
            log.warning("work_postponed", table=model._meta.db_table, key=str(key), why=str(error))
            drop_broken_connections()
        except Exception:
            log.exception("work_failed", table=model._meta.db_table, key=str(key))


class _Keeper:
    """Renews what this process holds on one alias, from a thread that starts with the first lease."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, str, str], dict[Any, int]] = {}
        self.lock = threading.Lock()
        self.thread: threading.Thread | None = None

    def add(self, table: tuple[str, str, str], pk: Any, attempt: int) -> None:
        with self.lock:
            self.held.setdefault(table, {})[pk] = attempt
            if self.thread is None or not self.thread.is_alive():
                self.thread = threading.Thread(target=self.run, name="leases", daemon=True)
                self.thread.start()

    def remove(self, table: tuple[str, str, str], pk: Any, attempt: int) -> None:
        with self.lock:
            if self.held[table].get(pk) == attempt:  # else another thread of this process has taken over
                del self.held[table][pk]

    def run(self) -> None:
        idle = threading.Event()
        while True:
            idle.wait(RENEWAL)
            with self.lock:
                work = {table: dict(held) for table, held in self.held.items() if held}
            for table, held in work.items():
                try:
                    self.renew(table, held)
                    connections.close_all()
                except Exception as error:  # a lease may run out, which fencing keeps safe; the thread may not end
                    log.warning("leases_not_renewed", table=table[1], error=str(error))

    def renew(self, table: tuple[str, str, str], held: dict[Any, int]) -> None:
        alias, name, key = table
        changed(
            alias,
            f"""UPDATE {name} SET lease_until = now() + %s WHERE {key} IN (
                  SELECT {key} FROM {name} JOIN unnest(%s, %s::int[]) AS mine(key, attempt)
                    ON {name}.{key} = mine.key AND {name}.attempt = mine.attempt
                  WHERE lease_until IS NOT NULL FOR UPDATE OF {name} SKIP LOCKED)""",
            [LEASE, list(held), list(held.values())],
        )


_keepers: dict[str, _Keeper] = {}  # one for each alias: a database that is away costs the others no lease


@contextmanager
def renewing(row: Leased, alias: str) -> Iterator[None]:
    """Keep the row's lease alive for as long as this block works on it."""
    table = (alias, row._meta.db_table, row._meta.pk.column)
    keeper = _keepers.setdefault(alias, _Keeper())
    keeper.add(table, row.pk, row.attempt)
    try:
        yield
    finally:
        keeper.remove(table, row.pk, row.attempt)
