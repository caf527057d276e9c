"""Databases of the contexts: one alias each, one transaction at a time, and the clock that due times are measured by."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache, lru_cache
from typing import Any, NamedTuple, TypeVar

import structlog
from django.conf import settings
from django.db import InterfaceError, OperationalError, connections
from django.db import transaction as django_transaction
from django.db.models import JSONField, Model
from psycopg.types.json import Jsonb

from shop.errors import Unavailable
from shop.postgres.base import NothingChanged as NothingChanged  # for those who write statements
from shop.postgres.base import Prepared as Prepared
from shop.transactions import held, refuse

log = structlog.get_logger(__name__)

# What says nothing about the request itself and passes by: connection lost, deadlock, serialization, lock timeout,
# pool exhausted, disk full, read-only.
OUTAGES = (Unavailable, OperationalError, InterfaceError)

M = TypeVar("M", bound=Model)

EVERYWHERE = {"shop", "contenttypes"}  # apps whose tables exist in every alias


@contextmanager
def transaction(alias: str) -> Iterator[None]:
    """One transaction on the context's own database.

    Joins the one that the kernel opened for a handler or an idempotent request of the same context. Raises
    InTransaction inside any other, because then the caller's rollback would take this work with it.
    """
    if held.aliases and held.joinable == alias:
        with django_transaction.atomic(using=alias, savepoint=False):  # an error caught outside still rolls all back
            yield
        return
    refuse(f"a transaction on {alias} was begun")
    with django_transaction.atomic(using=alias):
        yield


@contextmanager
def kernel_transaction(alias: str) -> Iterator[None]:
    """A transaction that the use cases of the same context join."""
    with transaction(alias):
        before, held.joinable = held.joinable, alias
        try:
            yield
        finally:
            held.joinable = before


def drop_broken_connections() -> None:
    """Let go of this thread's connections that met an error outside a transaction; the next statement gets another."""
    for connection in connections.all(initialized_only=True):
        if connection.errors_occurred and not connection.in_atomic_block:
            connection.close()


def close_all() -> None:
    """Close this thread's connections. What cannot be closed is broken, and its thread has to go on."""
    for connection in connections.all(initialized_only=True):
        try:
            connection.close()
        except Exception as error:
            log.warning("connection_not_closed", context=connection.alias, error=str(error))


def rows(alias: str, sql: str, parameters: Any = ()) -> list[tuple]:
    """Run one statement on an alias; what it returns, or an empty list."""
    with connections[alias].cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall() if cursor.pgresult.nfields else []  # `description` would be made anew for each column


def changed(alias: str, sql: str, parameters: Any = ()) -> int:
    """Run one statement on an alias; how many rows it changed, which is the answer to a race."""
    with connections[alias].cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.rowcount


def later(alias: str, sql: str, parameters: Any = ()) -> None:
    """Run one statement of the open transaction whose outcome nobody waits for: it goes with the next one or COMMIT.

    What goes wrong with it is raised there.
    """
    connections[alias].put_off(sql, parameters)  # type: ignore[attr-defined]


def require(alias: str, what: str, sql: str, parameters: Any = ()) -> None:
    """As `later`, of an UPDATE or INSERT that has to change a row: it is the condition of the whole transaction.

    Where it changes none, nothing of the transaction happens, and NothingChanged(what) is raised where it is sent.
    """
    later(alias, _required(sql), [*parameters, what])


@lru_cache(maxsize=200)
def _required(sql: str) -> Prepared:
    condition = "SELECT CASE WHEN count(*) = 0 THEN shop_nothing_changed(%s) END FROM changed"
    return Prepared(f"WITH changed AS ({sql} RETURNING 1) {condition}")


class In(NamedTuple):
    """A moment by the database's clock: so long from now, or what a column says if that is earlier. Never, for None."""

    delay: timedelta | None
    at_latest: str = "NULL"


def assignments(changes: dict[str, Any]) -> tuple[str, list]:
    """The SET list of an UPDATE, and its parameters: dicts and lists as jsonb, `In` by the database's clock."""
    names, values = [], []
    for name, value in changes.items():
        if isinstance(value, In) and value.delay is not None:
            names.append(f"{name} = least(now() + %s, {value.at_latest})")  # NULL is never the least
            values.append(value.delay)
        else:
            names.append(f"{name} = %s")
            values.append(Jsonb(value) if isinstance(value, dict | list) else None if isinstance(value, In) else value)
    return ", ".join(names), values


@cache
def columns(model: type[Model]) -> str:
    """A model's columns, as a statement has to return them for `instances`."""
    return ", ".join(field.column for field in model._meta.concrete_fields)


def instances(model: type[M], alias: str, sql: str, parameters: Any = (), also: tuple[str, ...] = ()) -> list[M]:
    """What a statement returns (`columns`) as a model's instances; `also`: attributes that it returns after these."""
    found = []
    for values in rows(alias, sql, parameters):
        row = model.from_db(alias, (), [_loaded(*pair) for pair in zip(model._meta.concrete_fields, values, strict=False)])
        vars(row).update(zip(also, values[len(values) - len(also) :], strict=True))
        found.append(row)
    return found


def _loaded(field: Any, value: Any) -> Any:
    return json.loads(value) if isinstance(field, JSONField) and value is not None else value


def hosted() -> tuple[str, ...]:
    """The contexts that this process hosts, each the name of its database alias."""
    return tuple(settings.CONTEXTS)


class Router:
    """An app's tables are in the alias of its name. What belongs nowhere fails loudly on the empty `default`."""

    def _alias(self, app_label: str) -> str | None:
        if app_label in settings.DATABASES:
            return app_label
        return hosted()[0] if app_label in EVERYWHERE else None

    def db_for_read(self, model: type, **hints: Any) -> str | None:
        return self._alias(model._meta.app_label)  # type: ignore[attr-defined]

    db_for_write = db_for_read

    def allow_relation(self, one: Any, other: Any, **hints: Any) -> bool:
        return one._meta.app_label == other._meta.app_label

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return app_label in EVERYWHERE or app_label == db
