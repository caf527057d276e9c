"""Faults at the points of `shop.chaos`: CHAOS="<point>:<when>:<action>[,...]", as in CHAOS=orders.commit.after:3:kill.

point: a name, or a pattern with `*`.
when: n, the nth time that this process reaches the point, or `p=0.05`, a probability.
action: `kill` this process, `raise` an outage, `drop` this thread's database sessions, or `delay=<seconds>`.
"""

import os
import random
import re
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import psycopg
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.db.transaction import atomic

from shop import chaos

TEST_DATABASES_ONLY = (
    "CHAOS and CHAOS_RECORD are for test databases only: their names begin with test_ (see DATABASE_PREFIX)"
)
_RULE = re.compile(r"([\w.*-]+):(?:([1-9]\d*)|p=([01]|0?\.\d+)):(?:(kill|raise|drop)|delay=(\d*\.?\d+))")
_WRITES = re.compile(r"\b(INSERT|UPDATE|DELETE)\b")


class InjectedFault(OperationalError, ConnectionError):
    """A simulated outage of a database, a callee or a mail server."""


@dataclass
class FaultRule:
    """One rule of CHAOS. `nth` is 0 in a rule with a probability, `chance` is 0 in one with a number."""

    point: str
    nth: int
    chance: float
    action: str
    seconds: float
    hits: int = 0

    def applies(self, point: str, dice: random.Random) -> bool:
        """Return whether the fault happens now. Counts the times that the point was reached."""
        if not fnmatchcase(point, self.point):
            return False
        self.hits += 1
        return self.hits == self.nth or dice.random() < self.chance


def parse_rules(text: str) -> list[FaultRule]:
    """Parse a value of CHAOS. Raises ValueError."""
    rules = []
    for part in filter(None, text.split(",")):
        found = _RULE.fullmatch(part)
        if not found:
            raise ValueError(
                f"CHAOS has {part!r}, which is not <point>:<n or p=probability>:<kill, raise, drop or delay=seconds>"
            )
        point, nth, chance, action, seconds = found.groups()
        rules.append(FaultRule(point, int(nth or 0), float(chance or 0), action or "delay", float(seconds or 0)))
    return rules


def has_only_test_databases() -> bool:
    """Return whether all databases of this process are test databases: their names begin with test_."""
    return all(settings.DATABASES[context]["NAME"].startswith("test_") for context in settings.CONTEXTS)


def arm(text: str, *, seed: int = 0, record: str = "") -> list[FaultRule]:
    """Start injecting the faults of `text`, and append each point that is reached to the file `record`.

    Returns the rules. Random faults differ between processes, so that a restarted process does not fail at the same
    point forever. Raises ImproperlyConfigured if a database is not a test database or the text is invalid.
    """
    if not has_only_test_databases():
        raise ImproperlyConfigured(TEST_DATABASES_ONLY)
    try:
        rules = parse_rules(text)
    except ValueError as error:
        raise ImproperlyConfigured(str(error)) from None
    lock, dice = threading.Lock(), random.Random(f"{seed} {os.getpid()}")

    def handle_point(point: str) -> None:
        with lock:
            if record:
                with open(record, "a") as file:
                    file.write(f"{point}\n")
            applying = [rule for rule in rules if rule.applies(point, dice)]
        for rule in applying:
            _trigger(rule, point)

    connection_created.connect(_wrap_statements, dispatch_uid="chaos")
    for connection in connections.all(initialized_only=True):
        _wrap_statements(connection)
    chaos.on_point_reached = handle_point
    return rules


def disarm() -> None:
    """Stop injecting faults."""
    chaos.on_point_reached = None


def _trigger(rule: FaultRule, point: str) -> None:
    if rule.action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if rule.action == "delay":
        time.sleep(rule.seconds)
    if rule.action == "drop":
        _drop_sessions()
        if point.endswith(".commit.after"):  # the transaction is committed, and its caller cannot know
            connections[point.partition(".")[0]].errors_occurred = True
            raise InjectedFault(f"chaos at {point}")
    if rule.action == "raise":
        raise InjectedFault(f"chaos at {point}")


def _drop_sessions() -> None:
    """Terminate this thread's sessions on the server. The next statement on each connection fails."""
    for connection in connections.all(initialized_only=True):
        if connection.connection is not None:
            try:
                connection.connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
            except psycopg.Error:  # expected: the session ends before it can answer
                continue


def _wrap_statements(connection: BaseDatabaseWrapper, **_: object) -> None:
    if _execute_in_transaction not in connection.execute_wrappers:
        connection.execute_wrappers.append(_execute_in_transaction)


def _execute_in_transaction(
    execute: Callable[[str, object, bool, dict[str, Any]], object],
    sql: str,
    parameters: object,
    many: bool,
    context: dict[str, Any],  # Django's: connection and cursor
) -> object:
    """Run a writing statement outside a transaction in one, so that its commit has a point before and after it."""
    connection = context["connection"]
    if chaos.on_point_reached is None or connection.in_atomic_block or not _WRITES.search(sql):
        return execute(sql, parameters, many, context)
    with atomic(using=connection.alias):
        return execute(sql, parameters, many, context)
