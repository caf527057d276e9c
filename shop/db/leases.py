"""Leases: one worker at a time works on a row; a worker that died or was paused loses its lease to the next one.

A lease is stored in columns of the row itself (`LeasedModel`) and acquired by one conditional UPDATE, which increments
`attempt`. It lasts LEASE_DURATION and is renewed every second, by one UPDATE per table for all leases of the process.
`attempt` is the fencing token: every write of the holder has `WHERE attempt = mine`. If it changes no row, another
worker has taken over, and the holder stops.
"""

import random
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import Any, NamedTuple, TypeVar

import structlog
from django.db import connections, models

from shop.db.database import (
    OUTAGE_ERRORS,
    PreparedStatement,
    build_column_list,
    close_broken_connections,
    execute,
    fetch_instances,
    fetch_rows,
)

LEASE_DURATION = timedelta(seconds=5)
RENEWAL_INTERVAL_SECONDS = 1.0
MAX_BACKOFF_SECONDS = 10.0

log = structlog.get_logger(__name__)


class LeasedModel(models.Model):
    """A row that one worker at a time works on. `attempt` is the fencing token of the lease."""

    attempt = models.IntegerField(default=0, db_default=0)
    lease_until = models.DateTimeField(null=True, blank=True)
    due_at = models.DateTimeField(
        null=True, blank=True, help_text="When a worker processes the row next. Empty: never."
    )
    woken = models.BooleanField(
        default=False, db_default=False, help_text="Whether a request arrived while a worker held the lease."
    )

    class Meta:
        abstract = True


M = TypeVar("M", bound=LeasedModel)


class LeaseLost(Exception):
    """Another worker has taken over the row; this one may not write to it any more."""


def acquire_lease(model: type[M], alias: str, pk: object) -> M | None:
    """Acquire the lease of a row and return the row, or None if another worker holds the lease.

    In the second case `woken` is set, so that the holder checks the row once more before it ends. The row becomes
    due again when the lease expires, in case its holder dies. Its attribute `acquired_at` is the database's time, for
    comparison with other times of the row. Raises model.DoesNotExist for an unknown key.
    """
    found = fetch_instances(
        model,
        alias,
        f"""UPDATE {model._meta.db_table} SET
                woken = coalesce(lease_until > now(), false),
                attempt = attempt + (lease_until IS NULL OR lease_until <= now())::int,
                due_at = CASE WHEN lease_until > now() THEN due_at ELSE now() + %s END,
                lease_until = CASE WHEN lease_until > now() THEN lease_until ELSE now() + %s END
            WHERE {model._meta.pk.column} = %s RETURNING {build_column_list(model)}, now()""",
        [LEASE_DURATION, LEASE_DURATION, pk],
        extra_attributes=("acquired_at",),
    )
    if not found:
        raise model.DoesNotExist(pk)
    [row] = found
    return None if row.woken else row


def acquire_due_leases(model: type[M], alias: str, limit: int) -> list[M]:
    """Acquire the leases of up to `limit` due rows that no worker holds, longest overdue first. See `acquire_lease`."""
    parameters = [LEASE_DURATION, LEASE_DURATION, limit]
    return fetch_instances(model, alias, _acquire_due(model), parameters, extra_attributes=("acquired_at",))


@cache
def _acquire_due(model: type[LeasedModel]) -> PreparedStatement:
    return PreparedStatement(
        f"""UPDATE {model._meta.db_table}
            SET attempt = attempt + 1, woken = false, lease_until = now() + %s, due_at = now() + %s
            WHERE {model._meta.pk.column} = ANY(ARRAY({_select_due_keys(model)}))
            RETURNING {build_column_list(model)}, now()"""
    )


@cache
def _select_due_keys(model: type[LeasedModel]) -> PreparedStatement:
    """Select the keys of due rows. SKIP LOCKED: a row that is locked now is being worked on."""
    return PreparedStatement(
        f"""SELECT {model._meta.pk.column} FROM {model._meta.db_table}
            WHERE due_at <= now() AND (lease_until IS NULL OR lease_until <= now())
            ORDER BY due_at LIMIT %s FOR UPDATE SKIP LOCKED"""
    )


def list_due_keys(model: type[LeasedModel], alias: str, limit: int = 20) -> list[Any]:
    """Return the keys of due rows that no worker holds, longest overdue first."""
    return [key for (key,) in fetch_rows(alias, _select_due_keys(model), [limit])]


def backoff(attempts: int, first: float = 0.1) -> timedelta:
    """Return the delay after this number of attempts: `first` seconds, doubled by each, capped, and with jitter."""
    seconds = min(MAX_BACKOFF_SECONDS, first * 2 ** min(attempts, 20))
    return timedelta(seconds=seconds * random.uniform(0.5, 1))


def process_due_rows(model: type[LeasedModel], alias: str, process: Callable[[Any], object]) -> None:
    """Call `process` with the key of each due row, as `process_rows` does."""
    process_rows(model, list_due_keys(model, alias), process)


def process_rows(model: type[LeasedModel], keys: Iterable[Any], process: Callable[[Any], object]) -> None:
    """Call `process` with each key. Errors are logged, so that one row does not stop the others."""
    for key in keys:
        try:
            process(key)
        except OUTAGE_ERRORS as error:
            log.warning("row_postponed", table=model._meta.db_table, key=str(key), error=str(error))
            close_broken_connections()
        except Exception:
            log.exception("row_failed", table=model._meta.db_table, key=str(key))


class _LeasedTable(NamedTuple):
    alias: str
    name: str
    key: str


class _LeaseKeeper:
    """Renew the leases that this process holds on one alias, in a thread that starts with the first lease."""

    def __init__(self) -> None:
        self.leases: dict[_LeasedTable, dict[object, int]] = {}  # attempt by primary key
        self.lock = threading.Lock()
        self.thread: threading.Thread | None = None

    def add(self, table: _LeasedTable, pk: object, attempt: int) -> None:
        with self.lock:
            self.leases.setdefault(table, {})[pk] = attempt
            if self.thread is None or not self.thread.is_alive():
                self.thread = threading.Thread(target=self.run, name="leases", daemon=True)
                self.thread.start()

    def remove(self, table: _LeasedTable, pk: object, attempt: int) -> None:
        with self.lock:
            if self.leases[table].get(pk) == attempt:  # otherwise another thread of this process has taken over
                del self.leases[table][pk]

    def run(self) -> None:
        idle = threading.Event()
        while True:
            idle.wait(RENEWAL_INTERVAL_SECONDS)
            with self.lock:
                current = {table: dict(leases) for table, leases in self.leases.items() if leases}
            for table, leases in current.items():
                try:
                    self.renew(table, leases)
                    connections.close_all()
                except Exception as error:  # a lease may expire, which fencing makes safe; the thread must not end
                    log.warning("leases_not_renewed", table=table.name, error=str(error))

    def renew(self, table: _LeasedTable, leases: dict[object, int]) -> None:
        alias, name, key = table
        execute(
            alias,
            f"""UPDATE {name} SET lease_until = now() + %s WHERE {key} IN (
                  SELECT {key} FROM {name} JOIN unnest(%s, %s::int[]) AS mine(key, attempt)
                    ON {name}.{key} = mine.key AND {name}.attempt = mine.attempt
                  WHERE lease_until IS NOT NULL FOR UPDATE OF {name} SKIP LOCKED)""",
            [LEASE_DURATION, list(leases), list(leases.values())],
        )


_lease_keepers: dict[str, _LeaseKeeper] = {}  # by alias, so that an unavailable database does not delay other renewals


@contextmanager
def keep_lease_alive(row: LeasedModel, alias: str) -> Iterator[None]:
    """Renew the lease of a row while the block runs."""
    table = _LeasedTable(alias, row._meta.db_table, str(row._meta.pk.column))
    keeper = _lease_keepers.setdefault(alias, _LeaseKeeper())
    keeper.add(table, row.pk, row.attempt)
    try:
        yield
    finally:
        keeper.remove(table, row.pk, row.attempt)
