"""Databases of the contexts: transactions, connections and statements. Each context has one alias."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

import structlog
from django.conf import settings
from django.db import InterfaceError, OperationalError, connections
from django.db import transaction as django_transaction
from django.db.models import JSONField, Model
from django.db.models.base import ModelState
from psycopg.errors import ConfigurationLimitExceeded, DiskFull
from psycopg.types.json import Jsonb

from shop.db.postgres import disk_space
from shop.db.postgres.errors import NoRowChanged as NoRowChanged
from shop.db.postgres.pools import are_connections_scarce as are_connections_scarce
from shop.db.postgres.prepared import Parameters
from shop.db.postgres.prepared import PreparedStatement as PreparedStatement  # for modules that write statements
from shop.db.transactions import assert_no_open_transaction, transaction_state
from shop.errors import Unavailable

if TYPE_CHECKING:
    from shop.db.postgres.base import DatabaseWrapper

log = structlog.get_logger(__name__)

# Temporary failures that are not caused by the request: connection lost, deadlock, serialization failure, lock timeout,
# pool exhausted, disk full, read-only server.
OUTAGE_ERRORS = (Unavailable, OperationalError, InterfaceError)

M = TypeVar("M", bound=Model)


@contextmanager
def transaction(alias: str) -> Iterator[None]:
    """Run the block in one transaction on a context's database.

    It joins the transaction that the kernel opened for a handler or an idempotent request of the same context. Raises
    InTransaction inside any other, whose rollback would undo this work unexpectedly.
    """
    if transaction_state.open_aliases and transaction_state.joinable_alias == alias:
        # Without a savepoint, an error that the caller catches still rolls back the whole transaction.
        with django_transaction.atomic(using=alias, savepoint=False):
            yield
        return
    assert_no_open_transaction(f"a transaction on {alias} was begun")
    with django_transaction.atomic(using=alias):
        yield


@contextmanager
def joinable_transaction(alias: str) -> Iterator[None]:
    """Run the block in a transaction that use cases of the same context join."""
    with transaction(alias):
        outer, transaction_state.joinable_alias = transaction_state.joinable_alias, alias
        try:
            yield
        finally:
            transaction_state.joinable_alias = outer


def close_broken_connections() -> None:
    """Close this thread's connections that had an error outside a transaction. The next statement opens a new one."""
    for connection in connections.all(initialized_only=True):
        if connection.errors_occurred and not connection.in_atomic_block:
            connection.close()


def close_all_connections() -> None:
    """Close this thread's connections. Those that cannot be closed are logged, so that the thread can continue."""
    for connection in connections.all(initialized_only=True):
        try:
            connection.close()
        except Exception as error:
            log.warning("connection_not_closed", context=connection.alias, error=str(error))


@contextmanager
def allow_long_statements(alias: str) -> Iterator[None]:
    """Wait for answers as long as the server works, for statements whose server-side limit has been raised."""
    connections[alias].ensure_connection()
    connection = connections[alias].connection
    limit, connection.answer_timeout = connection.answer_timeout, None
    try:
        yield
    finally:
        connection.answer_timeout = limit


def _get_connection(alias: str) -> "DatabaseWrapper":
    return cast("DatabaseWrapper", connections[alias])


def fetch_rows(alias: str, sql: str, parameters: Parameters = ()) -> list[tuple[Any, ...]]:
    """Run one statement and return its rows, or an empty list if it returns none."""
    if isinstance(sql, PreparedStatement):
        return _get_connection(alias).fetch_rows(sql, parameters)
    with connections[alias].cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall() if cursor.pgresult.nfields else []  # psycopg would build `description` for each call


def execute(alias: str, sql: str, parameters: Parameters = ()) -> int:
    """Run one statement and return the number of changed rows. Of a conditional UPDATE, 0 means a lost race."""
    if isinstance(sql, PreparedStatement):
        return _get_connection(alias).run(sql, parameters).command_tuples or 0
    with connections[alias].cursor() as cursor:
        cursor.execute(sql, parameters)
        changed: int = cursor.rowcount
        return changed


def is_disk_full(alias: str) -> bool:
    """Return whether the disk of a database is full: a statement was refused lately, which may be that of a probe.

    A temporary file is written at most once in `disk_space.PROBE_INTERVAL_SECONDS`, however often this is asked.
    """
    if disk_space.claim_probe(alias):
        _probe_disk(alias)
    return disk_space.was_disk_full(alias)


def _probe_disk(alias: str) -> None:
    """Write a temporary file. A refusal is noted like that of any statement, but for one by a limit of the role."""
    try:
        with transaction(alias):
            execute_deferred(alias, "SET LOCAL work_mem = '64kB'")
            fetch_rows(alias, disk_space.PROBE_SQL)
    except OperationalError as error:
        if not (isinstance(error.__cause__, DiskFull | ConfigurationLimitExceeded)):
            raise


def execute_deferred(alias: str, sql: str, parameters: Parameters = ()) -> None:
    """Run one statement of the open transaction together with the next one, or with COMMIT.

    It saves a round trip for a statement whose result is not needed. Its errors are raised when it is sent.
    """
    _get_connection(alias).defer_statement(sql, parameters)


def execute_or_abort(alias: str, label: str, sql: str, parameters: Sequence[object] = (), *, rows: int = 1) -> None:
    """Run an UPDATE or INSERT like `execute_deferred`, and abort the transaction if it changes fewer rows.

    Nothing of an aborted transaction happens. NoRowChanged(label) is raised when the statement is sent.
    """
    execute_deferred(alias, _abort_unless_changed(sql), [*parameters, rows, label])


@lru_cache(maxsize=200)
def _abort_unless_changed(sql: str) -> PreparedStatement:
    condition = "SELECT CASE WHEN count(*) < %s THEN shop_nothing_changed(%s) END FROM changed"
    return PreparedStatement(f"WITH changed AS ({sql} RETURNING 1) {condition}")


class FromNow(NamedTuple):
    """A time by the database's clock: a delay from now, but not later than a column. None means never (NULL)."""

    delay: timedelta | None
    at_latest: str = "NULL"  # an SQL expression


def build_set_clause(changes: Mapping[str, object]) -> tuple[str, list[object]]:
    """Return the SET list of an UPDATE and its parameters. Dicts and lists become jsonb, FromNow a time."""
    assignments: list[str] = []
    values: list[object] = []
    for column, value in changes.items():
        if isinstance(value, FromNow) and value.delay is not None:
            assignments.append(f"{column} = least(now() + %s, {value.at_latest})")  # least() ignores NULL
            values.append(value.delay)
        else:
            assignments.append(f"{column} = %s")
            values.append(_encode_value(value))
    return ", ".join(assignments), values


def _encode_value(value: object) -> object:
    if isinstance(value, FromNow):
        return None
    return Jsonb(value) if isinstance(value, dict | list) else value


@cache
def build_column_list(model: type[Model]) -> str:
    """Return a model's columns for the SELECT or RETURNING list of a statement that `fetch_instances` runs."""
    return ", ".join(str(field.column) for field in model._meta.concrete_fields)


def fetch_instances(
    model: type[M],
    alias: str,
    sql: str,
    parameters: Parameters = (),
    extra_attributes: tuple[str, ...] = (),
) -> list[M]:
    """Run a statement that returns `build_column_list(model)` and return its rows as instances.

    extra_attributes: names of attributes for the columns that the statement returns after those of the model.
    """
    names, json_names = _list_attributes(model)
    return [
        _build_instance(model, alias, dict(zip((*names, *extra_attributes), values, strict=True)), json_names)
        for values in fetch_rows(alias, sql, parameters)
    ]


@cache
def _list_attributes(model: type[Model]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the attributes of a model's columns, and those among them whose columns are JSON."""
    fields = model._meta.concrete_fields
    return tuple(f.attname for f in fields), tuple(f.attname for f in fields if isinstance(f, JSONField))


def _build_instance(model: type[M], alias: str, attributes: dict[str, Any], json_names: tuple[str, ...]) -> M:
    """Build a stored row's instance like `Model.from_db`, without the signals and checks that take most of its time."""
    for name in json_names:
        if attributes[name] is not None:
            attributes[name] = json.loads(attributes[name])
    instance = model.__new__(model)
    state = ModelState()
    state.adding, state.db = False, alias
    vars(instance).update(attributes, _state=state)
    return instance


def hosted_contexts() -> tuple[str, ...]:
    """Return the names of the contexts that this process hosts, which are also their database aliases."""
    return tuple(settings.CONTEXTS)
