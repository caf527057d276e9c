"""Runs the invariants over the databases, read-only, beside whatever the shop is doing.

Each database is read in one transaction, READ ONLY at REPEATABLE READ: one instant of it. The instants of two databases
differ, so of facts that meet

- only what has been quiet for the grace period is compared, unless the shop is said to be at rest;
- orders are read last. Their row says first that something is to be undone, and last that it is done: what others have
  undone is known to the order by the time it is read;
- a mismatch is a suspicion. The databases are read once more, and a violation is what is there again: an order goes
  each way once, so no two looks can fall into the same gap.
"""

import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, connections
from django.db.transaction import atomic

from config.verify.facts import FACTS, Fact
from config.verify.invariant import ALL, Invariant, Violation
from config.verify.invariants import INVARIANTS

GRACE = 60.0  # seconds within which everything converges by itself
TIMERS = 10.0  # seconds within which a timer that runs has run
STATEMENT_TIMEOUT = "120s"
NAMED = 1_000  # violations of one invariant in one database that are named; the others are counted
BATCH = 2_000

# How many subjects were looked at, how many are wrong, and these.
_LOOK = """
WITH looked AS MATERIALIZED ({sql})
SELECT CAST(NULL AS text), CAST(NULL AS text), count(*), count(problem) FROM looked
UNION ALL SELECT * FROM (
    SELECT CAST(subject AS text), problem, 0, 0 FROM looked WHERE problem IS NOT NULL ORDER BY 1 LIMIT {named}) AS wrong"""


class Outage(Exception):
    """A database cannot be read, so nothing can be said."""


@dataclass
class Report:
    """What a look at the books found."""

    violations: list[Violation] = field(default_factory=list)
    looked: dict[str, int] = field(default_factory=dict)  # subjects, by the invariant's name
    unnamed: int = 0  # violations beyond the first NAMED of an invariant
    unchecked: list[str] = field(default_factory=list)  # invariants of contexts that were not read
    suspected: int = 0  # mismatches of facts at the first look, before the second
    seconds: float = 0.0

    def take(self, one: Invariant, found: Iterable[tuple]) -> None:
        (_, _, looked, wrong), *named = found
        self.looked[one.name] = self.looked.get(one.name, 0) + looked
        self.violations += [Violation(one.name, subject, problem) for subject, problem, *_ in named]
        self.unnamed += wrong - len(named)


def check(at_rest: bool = False, contexts: Iterable[str] | None = None, grace: float = GRACE) -> list[Violation]:
    """What is not as it has to be; nothing, where all is well. See `verify`."""
    return verify(at_rest=at_rest, contexts=contexts, grace=grace).violations


def verify(at_rest: bool = False, contexts: Iterable[str] | None = None, grace: float = GRACE) -> Report:
    """Look at the books of these contexts, of all that this process hosts unless told otherwise.

    at_rest: nobody uses the shop, and its engine has done all there was, so nothing is excused by being on its way.
    grace: seconds that something may be on its way. Raises Outage.
    """
    began = time.monotonic()
    wanted = set(settings.CONTEXTS if contexts is None else contexts)
    if not wanted or wanted - set(settings.CONTEXTS):
        raise ValueError(f"this process hosts {', '.join(settings.CONTEXTS)}, not {', '.join(wanted) or 'nothing'}")
    chosen = [context for context in ALL if context in wanted]
    values = {
        "grace": timedelta(days=-1) if at_rest else timedelta(seconds=grace),  # at rest all is old, whatever clocks say
        "late": timedelta(seconds=TIMERS if at_rest else max(grace, TIMERS)),
        "at_rest": at_rest,
    }
    report = Report(unchecked=[one.name for one in INVARIANTS if not _covered(one, chosen)])
    _look(report, chosen, values)
    report.violations.sort()
    report.seconds = time.monotonic() - began
    return report


def _covered(one: Invariant, chosen: list[str]) -> bool:
    """Whether the contexts that were chosen are enough to say whether it holds."""
    return set(one.contexts) <= set(chosen) if one.meet else bool(set(one.contexts) & set(chosen))


def _look(report: Report, chosen: list[str], values: Mapping[str, Any]) -> None:
    with _scratch() as scratch:
        for context in chosen:
            with _reading(context):
                for one in INVARIANTS:
                    if context in one.contexts and not one.meet:
                        report.take(one, _ask(context, one, values))
                _collect(context, scratch, values)
        suspicions = _compare(scratch, chosen)
    report.suspected = len(suspicions.violations)
    if report.suspected:
        suspicions = _suspected_again(suspicions, chosen, values)
    report.violations += suspicions.violations
    report.looked |= suspicions.looked
    report.unnamed += suspicions.unnamed


def _suspected_again(first: Report, chosen: list[str], values: Mapping[str, Any]) -> Report:
    with _scratch() as scratch:
        for context in chosen:
            with _reading(context):
                _collect(context, scratch, values)
        again = _compare(scratch, chosen)
    before = {(found.invariant, found.subject) for found in first.violations}
    again.violations = [found for found in again.violations if (found.invariant, found.subject) in before]
    return again


@contextmanager
def _reading(context: str) -> Iterator[None]:
    """One instant of a database. Raises Outage."""
    try:
        with atomic(using=context, durable=True), connections[context].cursor() as cursor:
            cursor.execute(
                f"""SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET LOCAL jit = off;
                    SET LOCAL enable_seqscan = on;
                    SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT}';
                    SET LOCAL idle_in_transaction_session_timeout = '{STATEMENT_TIMEOUT}'"""
            )
            yield
    except (OperationalError, InterfaceError) as error:
        raise Outage(f"the database of {context} cannot be read: {_first_line(error)}") from error
    except DatabaseError as error:
        raise Outage(f"the database of {context} is not what this release expects: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _ask(context: str, one: Invariant, values: Mapping[str, Any]) -> list[tuple]:
    sql = _LOOK.format(sql=one.sql_in(context), named=NAMED)
    with connections[context].cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall()


@contextmanager
def _scratch() -> Iterator[sqlite3.Connection]:
    """A database of nobody, where facts of several meet: in memory as long as they are few, then in a temporary file."""
    with closing(sqlite3.connect("", isolation_level=None)) as scratch:
        scratch.execute("PRAGMA journal_mode = OFF")
        scratch.execute("PRAGMA synchronous = OFF")
        for fact in FACTS:
            scratch.execute(f"CREATE TABLE {fact.table} ({fact.columns})")
        yield scratch


def _collect(context: str, scratch: sqlite3.Connection, values: Mapping[str, Any]) -> None:
    for fact in FACTS:
        if context in fact.contexts:
            marks = ", ".join("?" * len(fact.columns.split(",")))
            scratch.execute("BEGIN")
            scratch.executemany(f"INSERT INTO {fact.table} VALUES ({marks})", _stream(context, fact, values))
            scratch.execute("COMMIT")


def _stream(context: str, fact: Fact, values: Mapping[str, Any]) -> Iterator[tuple]:
    with connections[context].chunked_cursor() as cursor:
        cursor.execute(fact.sql, {**values, "context": context})
        while batch := cursor.fetchmany(BATCH):
            yield from batch


def _compare(scratch: sqlite3.Connection, chosen: list[str]) -> Report:
    found = Report()
    for fact in FACTS:
        scratch.execute(f"CREATE INDEX {fact.table}_by_key ON {fact.table} ({fact.key})")
    for one in INVARIANTS:
        if one.meet and _covered(one, chosen):
            found.take(one, scratch.execute(_LOOK.format(sql=one.sql, named=NAMED)))
    return found
