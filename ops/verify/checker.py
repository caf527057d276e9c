"""Run the invariants against the databases, read-only, even while the shop is running.

Each database is read in one transaction, READ ONLY at REPEATABLE READ, so all its rows are read from one snapshot.
The snapshots of two databases are from different moments. A comparison between contexts therefore

- includes only rows that have not changed during the grace period, unless the caller declares the shop idle;
- reads the databases in the order that the contexts declare: the orders context is read last, because it records a
  compensation before requesting it;
- is repeated if it finds a mismatch. A mismatch is reported only if both reads find it. Each transition happens once,
  so a mismatch caused by a running transition disappears in the second read.
"""

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NamedTuple, TypeAlias

from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, connections
from django.db.transaction import atomic

from ops.verify.registry import collect_extracts, collect_invariants, load_declarations
from shop.invariants import Invariant

GRACE_SECONDS = 60.0  # time within which work in progress must have finished
TIMER_DELAY_SECONDS = 10.0  # time within which a due timer must have fired
STATEMENT_TIMEOUT = "120s"
MAX_LISTED_VIOLATIONS = 1_000  # violations of one invariant in one database that are listed; more are only counted
FETCH_BATCH_ROWS = 2_000

_DECLARATIONS = load_declarations(settings.ALL_CONTEXTS)
ALL_CONTEXTS = tuple(_DECLARATIONS)  # in the order in which they are read
INVARIANTS = collect_invariants(_DECLARATIONS)
_EXTRACTS = collect_extracts(_DECLARATIONS)
_SCRATCH_TABLES = {extract.table: extract for extracts in _EXTRACTS.values() for extract in extracts}.values()

ResultRow: TypeAlias = tuple[str, str, int, int]  # subject, problem, checked subjects, violations
Prepare: TypeAlias = Callable[[str], str]  # returns a statement for the cursors of the shop
Parameters: TypeAlias = Mapping[str, Any]  # Any: psycopg adapts timedelta, which the stubs of `execute` do not list

# The first row has the number of checked subjects and of violations, the others are the violations.
_CHECK_SQL = """
WITH checked AS MATERIALIZED ({sql})
SELECT CAST(NULL AS text), CAST(NULL AS text), count(*), count(problem) FROM checked
UNION ALL SELECT * FROM (
    SELECT CAST(subject AS text), problem, 0, 0 FROM checked WHERE problem IS NOT NULL ORDER BY 1 LIMIT {limit}) AS wrong"""


class DatabaseUnreadable(Exception):
    """A database cannot be read, so its invariants cannot be checked."""


class Violation(NamedTuple):
    """A subject for which an invariant does not hold."""

    invariant: str  # its name
    subject: str  # the order's id, the SKU, the stream …
    detail: str


@dataclass
class Report:
    """The result of a verification."""

    violations: list[Violation] = field(default_factory=list)
    checked_counts: dict[str, int] = field(default_factory=dict)  # checked subjects by the invariant's name
    unlisted_count: int = 0  # violations beyond MAX_LISTED_VIOLATIONS
    unchecked: list[str] = field(default_factory=list)  # invariants that need contexts that were not read
    suspected_count: int = 0  # mismatches between contexts in the first read, before they were confirmed
    seconds: float = 0.0

    def add(self, invariant: Invariant, rows: Iterable[ResultRow]) -> None:
        """Add the result of one invariant in one database."""
        (_, _, checked_count, violation_count), *listed = rows
        self.checked_counts[invariant.name] = self.checked_counts.get(invariant.name, 0) + checked_count
        self.violations += [Violation(invariant.name, subject, problem) for subject, problem, *_ in listed]
        self.unlisted_count += violation_count - len(listed)


def check(
    is_idle: bool = False,
    contexts: Iterable[str] | None = None,
    grace: float = GRACE_SECONDS,
    prepare: Prepare | None = None,
) -> list[Violation]:
    """Return the violations; an empty list if all invariants hold. See `verify` for the arguments."""
    return verify(is_idle, contexts, grace, prepare).violations


def verify(
    is_idle: bool = False,
    contexts: Iterable[str] | None = None,
    grace: float = GRACE_SECONDS,
    prepare: Prepare | None = None,
) -> Report:
    """Check the invariants of these contexts, by default of all that this process hosts.

    is_idle: no work is in progress; apply no grace period.
    grace: grace period in seconds for unfinished work.
    prepare: makes statements that each connection plans once, for a process that checks small databases again and again.
    Raises DatabaseUnreadable.
    """
    began = time.monotonic()
    requested = set(settings.CONTEXTS if contexts is None else contexts)
    if not requested or requested - set(settings.CONTEXTS):
        raise ValueError(f"this process hosts {', '.join(settings.CONTEXTS)}, not {', '.join(requested) or 'nothing'}")
    chosen = [context for context in ALL_CONTEXTS if context in requested]
    parameters: Parameters = {
        # Negative, so that an idle shop gets no grace period even if the clocks of two processes differ.
        "grace": timedelta(days=-1) if is_idle else timedelta(seconds=grace),
        "late": timedelta(seconds=TIMER_DELAY_SECONDS if is_idle else max(grace, TIMER_DELAY_SECONDS)),
        "is_idle": is_idle,
        "currency": settings.CURRENCY,
    }
    report = Report(unchecked=[one.name for one in INVARIANTS if not _is_covered(one, chosen)])
    _run_checks(report, chosen, parameters, prepare)
    report.violations.sort()
    report.seconds = time.monotonic() - began
    return report


def _is_covered(invariant: Invariant, chosen: list[str]) -> bool:
    """Return whether the chosen contexts are enough to check the invariant."""
    needed = set(invariant.contexts)
    return needed <= set(chosen) if invariant.is_cross_context else bool(needed & set(chosen))


def _run_checks(report: Report, chosen: list[str], parameters: Parameters, prepare: Prepare | None) -> None:
    with _open_scratch_database() as scratch:
        for context in chosen:
            with _open_read_transaction(context):
                for invariant in INVARIANTS:
                    if context in invariant.contexts and not invariant.is_cross_context:
                        report.add(invariant, _run_invariant(context, invariant, parameters, prepare))
                _load_extracts(context, scratch, parameters, prepare)
        mismatches = _compare_extracts(scratch, chosen)
    report.suspected_count = len(mismatches.violations)
    if report.suspected_count:
        mismatches = _confirm_mismatches(mismatches, chosen, parameters, prepare)
    report.violations += mismatches.violations
    report.checked_counts |= mismatches.checked_counts
    report.unlisted_count += mismatches.unlisted_count


def _confirm_mismatches(first: Report, chosen: list[str], parameters: Parameters, prepare: Prepare | None) -> Report:
    """Read the databases again and return the mismatches that are in both reads."""
    with _open_scratch_database() as scratch:
        for context in chosen:
            with _open_read_transaction(context):
                _load_extracts(context, scratch, parameters, prepare)
        second = _compare_extracts(scratch, chosen)
    known = {(found.invariant, found.subject) for found in first.violations}
    second.violations = [found for found in second.violations if (found.invariant, found.subject) in known]
    return second


@contextmanager
def _wait_for_long_statements(context: str) -> Iterator[None]:
    """Leave the limit of statements to the server, which STATEMENT_TIMEOUT raises."""
    connections[context].ensure_connection()
    connection = connections[context].connection
    limit, connection.answer_timeout = connection.answer_timeout, None
    try:
        yield
    finally:
        connection.answer_timeout = limit


@contextmanager
def _open_read_transaction(context: str) -> Iterator[None]:
    """Open a read-only transaction with one snapshot of a database. Raises DatabaseUnreadable."""
    try:
        with (
            _wait_for_long_statements(context),
            atomic(using=context, durable=True),
            connections[context].cursor() as cursor,
        ):
            cursor.execute(
                f"""SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET LOCAL jit = off;
                    SET LOCAL plan_cache_mode = force_generic_plan;
                    SET LOCAL enable_seqscan = on;
                    SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT}';
                    SET LOCAL idle_in_transaction_session_timeout = '{STATEMENT_TIMEOUT}'"""
            )
            yield
    except (OperationalError, InterfaceError) as error:
        raise DatabaseUnreadable(f"the database of {context} cannot be read: {_first_line(error)}") from error
    except DatabaseError as error:
        raise DatabaseUnreadable(
            f"the schema of {context} does not match this release; run manage.py migrate: {_first_line(error)}"
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _run_invariant(
    context: str, invariant: Invariant, parameters: Parameters, prepare: Prepare | None
) -> Iterable[ResultRow]:
    sql = _CHECK_SQL.format(sql=invariant.get_sql(context), limit=MAX_LISTED_VIOLATIONS)
    with connections[context].cursor() as cursor:
        cursor.execute(prepare(sql) if prepare else sql, parameters)
        return cursor.fetchall()


@contextmanager
def _open_scratch_database() -> Iterator[sqlite3.Connection]:
    """Open an empty SQLite database, in memory until it outgrows the cache and then in a temporary file."""
    with closing(sqlite3.connect("", isolation_level=None)) as scratch:
        scratch.execute("PRAGMA journal_mode = OFF")
        scratch.execute("PRAGMA synchronous = OFF")
        for extract in _SCRATCH_TABLES:
            scratch.execute(f"CREATE TABLE {extract.table} ({extract.columns})")
        yield scratch


def _load_extracts(context: str, scratch: sqlite3.Connection, parameters: Parameters, prepare: Prepare | None) -> None:
    for extract in _EXTRACTS[context]:
        placeholders = ", ".join("?" * len(extract.columns.split(",")))
        rows = _fetch_rows(context, extract.sql, {**parameters, "context": context}, prepare)
        scratch.execute("BEGIN")
        scratch.executemany(f"INSERT INTO {extract.table} VALUES ({placeholders})", rows)
        scratch.execute("COMMIT")


def _fetch_rows(
    context: str, sql: str, parameters: Parameters, prepare: Prepare | None
) -> Iterator[tuple[object, ...]]:
    with connections[context].cursor() if prepare else connections[context].chunked_cursor() as cursor:
        cursor.execute(prepare(sql) if prepare else sql, parameters)
        while batch := cursor.fetchmany(FETCH_BATCH_ROWS):
            yield from batch


def _compare_extracts(scratch: sqlite3.Connection, chosen: list[str]) -> Report:
    report = Report()
    for extract in _SCRATCH_TABLES:
        scratch.execute(f"CREATE INDEX {extract.table}_by_key ON {extract.table} ({extract.key})")
    for invariant in INVARIANTS:
        if invariant.is_cross_context and _is_covered(invariant, chosen):
            sql = _CHECK_SQL.format(sql=invariant.sql, limit=MAX_LISTED_VIOLATIONS)
            report.add(invariant, scratch.execute(sql))
    return report
