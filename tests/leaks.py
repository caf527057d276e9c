"""Fail a test that leaves a process, a thread or an open transaction behind (pytest plugin, `-p tests.leaks`).

The engine of a leaked server would handle the events of every later test, which then fail for no visible reason, and a
transaction that stays open holds row locks, on which a later test would wait without end. So a leak is reported by the test
that made it, and ended. A process or thread of a fixture with a wider scope may live as long as that fixture; so may a process
that a test restarts for it with the environment that the fixture had.
"""

import os
import re
import signal
import sys
import threading
import time
from collections.abc import Generator, Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.test import TestCase

RUN_MARK = "TEST_RUN_MARK"  # in the environment of all processes that this run starts
OWNER_MARK = "TEST_OWNER_MARK"  # in the environment that a fixture of a wider scope hands to its processes
SPAWN_EVENTS = ("subprocess.Popen", "os.fork", "os.posix_spawn")  # of sys.addaudithook
PRODUCT_THREADS = (
    "relay-",
    "handlers-",
    "timers-",
    "traffic",
    "watchdog",
    "bells",
)  # daemons that work on databases or brokers
EXIT_TIMEOUT_SECONDS = float(
    os.environ.get("LEAK_TIMEOUT_SECONDS") or 15
)  # how long a thread that was asked to stop, or an open transaction, may take to end


class LeakCheck:
    """Compare the processes and threads after each test with those before it, and look for open transactions."""

    def __init__(self) -> None:
        self.spawn_count = 0
        self.database: psycopg.Connection | None = None
        self.has_closed_fixture = False  # one of a wider scope, in whose lifetime processes were started
        self.spawned_before: dict[object, int] = {}  # by fixture: the processes that were started before it
        self.kept_sessions: dict[object, set[int]] = {}  # by fixture: the sessions of the processes that it started
        self.kept_threads: dict[object, set[threading.Thread]] = {}
        os.environ[RUN_MARK] = str(os.getpid())
        sys.addaudithook(self._audit)

    def _audit(self, event: str, _: tuple[Any, ...]) -> None:
        if event in SPAWN_EVENTS:
            self.spawn_count += 1

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None]:
        item.stash[SPAWNED_BEFORE] = self.spawn_count
        item.stash[THREADS_BEFORE] = set(threading.enumerate())
        yield

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None]:
        yield
        leaks = [*self._find_leaked_threads(item.stash[THREADS_BEFORE])]
        if self.spawn_count != item.stash[SPAWNED_BEFORE] or self.has_closed_fixture:
            leaks += self._end_leaked_processes()
            self.has_closed_fixture = False
        if not is_django_test_case(item):
            leaks += self._end_open_transactions()
        if leaks:
            pytest.fail(f"the test left behind: {'; '.join(leaks)}", pytrace=False)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Generator[None, Any, Any]:
        if fixturedef.scope == "function":
            return (yield)
        spawned, threads = self.spawn_count, set(threading.enumerate())
        before = set(find_processes()) if self.spawn_count else set()
        outer = os.environ.get(OWNER_MARK, "")
        os.environ[OWNER_MARK] = str(id(fixturedef))
        try:
            return (yield)
        finally:
            os.environ[OWNER_MARK] = outer
            self.kept_threads[fixturedef] = set(threading.enumerate()) - threads
            self.kept_sessions[fixturedef] = set()  # also its processes that a test starts
            self.spawned_before[fixturedef] = spawned
            if self.spawn_count != spawned:
                self.keep(set(find_processes()) - before, fixturedef)

    def pytest_fixture_post_finalizer(self, fixturedef: Any) -> None:
        if self.kept_sessions.pop(fixturedef, None) is not None:
            self.has_closed_fixture |= self.spawned_before.pop(fixturedef) != self.spawn_count
        self.kept_threads.pop(fixturedef, None)

    def keep(self, pids: Iterable[int], owner: object) -> None:
        """Let these processes and their sessions live as long as their owner, a fixture."""
        sessions = self.kept_sessions.setdefault(owner, set())
        for pid in pids:
            with suppress(ProcessLookupError):
                sessions.update((pid, os.getsid(pid)))

    def _end_leaked_processes(self) -> list[str]:
        kept = set().union(*self.kept_sessions.values()) - {os.getsid(0)}
        owners = {str(id(fixture)) for fixture in self.kept_sessions}
        leaked = {
            pid: name
            for pid, name in find_processes().items()
            if read_owner(pid) not in owners and not is_descendant(pid, kept) and not is_being_killed(pid)
        }
        for pid in leaked:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return [f"process {pid} ({name})" for pid, name in leaked.items()]

    def _end_open_transactions(self) -> list[str]:
        if "DATABASE_URL" not in os.environ:
            return []
        if (
            self.database is None or self.database.closed
        ):  # kept, since a new one for each test would cost more than the rest
            self.database = psycopg.connect(os.environ["DATABASE_URL"], autocommit=True)
        return end_open_transactions(self.database)

    def _find_leaked_threads(self, before: set[threading.Thread]) -> list[str]:
        kept = before.union(*self.kept_threads.values())
        started = [thread for thread in threading.enumerate() if thread not in kept]
        suspects = [thread for thread in started if not thread.daemon or thread.name.startswith(PRODUCT_THREADS)]
        deadline = time.monotonic() + EXIT_TIMEOUT_SECONDS
        for thread in suspects:
            thread.join(max(0.0, deadline - time.monotonic()))
        return [f"thread {thread.name}" for thread in suspects if thread.is_alive()]


SPAWNED_BEFORE = pytest.StashKey[int]()
THREADS_BEFORE = pytest.StashKey[set[threading.Thread]]()


def is_django_test_case(item: pytest.Item) -> bool:
    """Return whether a test belongs to a class of Django that keeps a transaction open between its tests."""
    cls = getattr(item, "cls", None)
    return cls is not None and issubclass(cls, TestCase)


def find_processes() -> dict[int, str]:
    """Return the command lines of all running processes that this run of pytest has started, by process id."""
    mark = f"{RUN_MARK}={os.getpid()}".encode()
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if int(folder.name) != os.getpid() and mark in (folder / "environ").read_bytes().split(b"\0"):
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if command:  # a process that has exited and waits to be reaped has none
                    found[int(folder.name)] = command.strip()[:120]
    return found


def read_owner(pid: int) -> str:
    """Return the mark of the fixture that started a process, also if a test has restarted it meanwhile."""
    with suppress(OSError):
        entries = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
        return next((entry.partition("=")[2] for entry in entries if entry.startswith(f"{OWNER_MARK}=")), "")
    return ""


def is_being_killed(pid: int) -> bool:
    """Return whether a process has been sent SIGKILL: it ends as soon as it gets the processor."""
    with suppress(OSError):
        pending = re.findall(r"^(?:Sig|Shd)Pnd:\s+(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
        return any(int(signals, 16) >> (signal.SIGKILL - 1) & 1 for signals in pending)
    return True  # it has ended meanwhile


def is_descendant(pid: int, kept: set[int]) -> bool:
    """Return whether the process, its session or one of its ancestors is kept."""
    while pid > 1:
        try:
            if pid in kept or os.getsid(pid) in kept:
                return True
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            return True  # it has ended meanwhile
    return False


OPEN_TRANSACTIONS_SQL = """
SELECT pid, xact_start, datname, left(query, 120) FROM pg_stat_activity
WHERE state LIKE 'idle in transaction%%' AND starts_with(datname, %s)"""


def end_open_transactions(database: psycopg.Connection) -> list[str]:
    """End the sessions on the test databases that stay idle in a transaction, and return what they did last.

    A server of a wider fixture may be between two statements at this moment: only what does not end in time is a leak.
    """
    deadline = time.monotonic() + EXIT_TIMEOUT_SECONDS
    found = _find_open_transactions(database)
    while found and time.monotonic() < deadline:
        time.sleep(0.02)
        now = _find_open_transactions(database)
        found = {key: text for key, text in found.items() if key in now}
    for pid, _ in found:
        database.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    return [f"open transaction {text}" for text in found.values()]


def _find_open_transactions(database: psycopg.Connection) -> dict[tuple[int, datetime], str]:
    rows = database.execute(OPEN_TRANSACTIONS_SQL, [os.environ["DATABASE_PREFIX"]])
    return {(pid, began): f"in {name}: {query}" for pid, began, name, query in rows}


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(LeakCheck(), "satsuma-leaks")
