"""Faults at the points of `shop.chaos`: CHAOS="<point>:<which>:<action>[,...]", as in CHAOS=orders.commit.after:3:kill.

point: a name, or a pattern with `*`. which: the how manieth time it is reached in this process, or `p=0.05`, by chance.
action: `kill` this process; `raise` an outage; `drop`, end this thread's database sessions; `delay=<seconds>`.
"""

import os
import random
import re
import signal
import threading
import time
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import psycopg
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, connections
from django.db.backends.signals import connection_created
from django.db.transaction import atomic

from shop import chaos

REFUSED = "CHAOS and CHAOS_RECORD are for test databases only: their names begin with test_, as DATABASE_PREFIX says"
_RULE = re.compile(r"([\w.*-]+):(?:([1-9]\d*)|p=([01]|0?\.\d+)):(?:(kill|raise|drop)|delay=(\d*\.?\d+))")
_WRITES = re.compile(r"\b(INSERT|UPDATE|DELETE)\b")


class Injected(OperationalError, ConnectionError):
    """An outage, to whoever has to do with one: of a database, of a callee, of a mail server."""


@dataclass
class Rule:
    """One part of CHAOS."""

    point: str
    nth: int
    chance: float
    action: str
    seconds: float
    hits: int = 0

    def strikes(self, point: str, dice: random.Random) -> bool:
        if not fnmatchcase(point, self.point):
            return False
        self.hits += 1
        return self.hits == self.nth or dice.random() < self.chance


def parse(text: str) -> list[Rule]:
    """The rules of a CHAOS value. Raises ValueError, with a sentence."""
    rules = []
    for part in filter(None, text.split(",")):
        found = _RULE.fullmatch(part)
        if not found:
            raise ValueError(f"CHAOS has {part!r}, which is not <point>:<nth or p=chance>:<kill, raise, drop or delay=seconds>")
        point, nth, chance, action, seconds = found.groups()
        rules.append(Rule(point, int(nth or 0), float(chance or 0), action or "delay", float(seconds or 0)))
    return rules


def only_test_databases() -> bool:
    """Whether no database here can hold somebody's orders: none but tests' has a name that begins with test_."""
    return all(settings.DATABASES[context]["NAME"].startswith("test_") for context in settings.CONTEXTS)


def arm(text: str, *, seed: int = 0, record: str = "") -> list[Rule]:
    """Let the faults of `text` happen from now on; append each point that is reached to the file `record`. Returns the rules.

    What happens by chance differs between processes, so that one that is started anew does not die at the same place
    for ever. Raises ImproperlyConfigured outside of tests, and for a text that cannot be read.
    """
    if not only_test_databases():
        raise ImproperlyConfigured(REFUSED)
    try:
        rules = parse(text)
    except ValueError as error:
        raise ImproperlyConfigured(str(error)) from None
    lock, dice = threading.Lock(), random.Random(f"{seed} {os.getpid()}")

    def reached(point: str) -> None:
        with lock:
            if record:
                with open(record, "a") as file:
                    file.write(f"{point}\n")
            striking = [rule for rule in rules if rule.strikes(point, dice)]
        for rule in striking:
            _strike(rule, point)

    connection_created.connect(_watch, dispatch_uid="chaos")
    for connection in connections.all(initialized_only=True):
        _watch(connection)
    chaos.reached = reached
    return rules


def disarm() -> None:
    """Let nothing happen any more."""
    chaos.reached = None


def _strike(rule: Rule, point: str) -> None:
    if rule.action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if rule.action == "delay":
        time.sleep(rule.seconds)
    if rule.action == "drop":
        _drop_sessions()
        if point.endswith(".commit.after"):  # then its reply did not arrive
            connections[point.partition(".")[0]].errors_occurred = True
            raise Injected(f"chaos at {point}")
    if rule.action == "raise":
        raise Injected(f"chaos at {point}")


def _drop_sessions() -> None:
    """End this thread's sessions at the server, as it would itself; whoever uses one next finds out."""
    for connection in connections.all(initialized_only=True):
        if connection.connection is not None:
            try:
                connection.connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
            except psycopg.Error:  # the answer to that is that there is none
                continue


def _watch(connection: Any, **_: Any) -> None:
    if _statement not in connection.execute_wrappers:
        connection.execute_wrappers.append(_statement)


def _statement(execute: Any, sql: str, parameters: Any, many: bool, context: dict[str, Any]) -> Any:
    """A writing statement outside of a transaction gets one of its own, so that its commit has a before and an after."""
    connection = context["connection"]
    if chaos.reached is None or connection.in_atomic_block or not _WRITES.search(sql):
        return execute(sql, parameters, many, context)
    with atomic(using=connection.alias):
        return execute(sql, parameters, many, context)
