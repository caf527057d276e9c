"""The pools of one server share a budget: a process never opens more connections, and keeps none that it does not need."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import psycopg
import pytest
from django.db import connections
from django.test import Client

from shop.db.database import OUTAGE_ERRORS, are_connections_scarce, close_all_connections, fetch_rows, transaction
from shop.db.postgres import circuits, pools
from shop.db.postgres.base import DatabaseWrapper
from shop.db.postgres.circuits import DatabaseSilent, open_limited_connection
from tests.concurrency import eventually, repeat_concurrently, run_in_thread
from tests.shop.db.session_observer import observing
from tests.shop.db.superuser_session import execute_as_superuser

ALIASES = ("orders", "inventory", "payments")
NAME = "test of the budget"  # of the sessions that are counted
OBSERVED_SQL = "SELECT pid, backend_start FROM pg_stat_activity WHERE application_name = %s"
SESSIONS_SQL = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"


@pytest.fixture
def limit_connections(settings):
    """Return a function that gives the pools of this process a new budget, and returns it."""
    close_all_connections()
    with (
        pytest.MonkeyPatch.context() as patch
    ):  # fixtures that end after this one need the pools that were there before
        patch.setattr(DatabaseWrapper, "_connection_pools", {})
        patch.setattr(pools, "_budgets", {})

        def limit(count: int, **options) -> pools.ConnectionBudget:
            for alias in settings.CONTEXTS:
                server = connections.settings[alias]
                pool = server["OPTIONS"]["pool"] | options
                patch.setitem(server, "OPTIONS", server["OPTIONS"] | {"pool": pool, "application_name": NAME})
            settings.CONNECTIONS = settings.CONNECTIONS._replace(connections=count + pools.PROBE_CONNECTIONS)
            return get_budget()

        yield limit
        close_all_connections()
        for pool in tuple(DatabaseWrapper._connection_pools.values()):
            pool.close()
        eventually(lambda: count_sessions() == 0)


def get_budget() -> pools.ConnectionBudget:
    server = connections.settings["orders"]
    return pools.get_budget(str(server["HOST"]), str(server["PORT"]))


def count_sessions() -> int:
    [[count]] = execute_as_superuser(SESSIONS_SQL, [NAME])
    return count


@contextmanager
def holding(*aliases: str) -> Iterator[threading.Event]:
    """Hold a connection to each of these databases, in a thread for each, until the block or its event ends."""
    release, held = threading.Event(), threading.Barrier(len(aliases) + 1)

    def hold(alias: str) -> None:
        fetch_rows(alias, "SELECT 1")
        held.wait(60)
        release.wait(60)
        close_all_connections()

    with ThreadPoolExecutor(len(aliases)) as pool:
        done = [pool.submit(hold, alias) for alias in aliases]
        try:
            held.wait(60)
            yield release
        finally:
            release.set()
            for one in done:
                one.result()


def read(alias: str) -> list[tuple]:
    return run_in_thread(lambda: fetch_rows(alias, "SELECT 1"))


def test_a_process_opens_no_connection_before_it_needs_one(limit_connections):
    budget = limit_connections(4)
    assert (budget.count_connections(), count_sessions()) == (0, 0)
    fetch_rows("orders", "SELECT 1")
    assert (budget.count_connections(), count_sessions()) == (1, 1)


def test_a_thread_waits_for_the_budget_of_the_server_and_stops_in_time(limit_connections):
    budget = limit_connections(3, timeout=0.3)
    with holding("orders", "inventory", "inventory"):
        assert are_connections_scarce()
        with pytest.raises(
            OUTAGE_ERRORS, match=r"after 0\.30 sec: all connections that this process may open are in use"
        ):
            read("payments")
        assert (budget.count_connections(), count_sessions()) == (3, 3)
    assert not are_connections_scarce()
    assert read("payments") == [(1,)]


def test_a_request_without_a_connection_is_answered_in_time_with_503_and_retry_after(limit_connections, in_one_process):
    limit_connections(1, timeout=0.3)
    with holding("orders"):
        response = run_in_thread(lambda: Client().get("/api/v1/products"))
        assert response.status_code == 503
        assert int(response.headers["Retry-After"]) >= 1
    assert run_in_thread(lambda: Client().get("/api/v1/products")).status_code == 200


def test_a_thread_that_waits_gets_the_connection_that_another_database_returns(limit_connections, monkeypatch):
    monkeypatch.setattr(pools, "FIRST_WAIT_SECONDS", 60)  # so that it does not ask again by itself
    budget = limit_connections(3, timeout=60)
    with holding("orders", "inventory", "inventory") as release, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(read, "payments")
        eventually(lambda: "payments" in budget.pools and budget.pools["payments"].has_waiting_threads())
        release.set()
        assert waiting.result() == [(1,)]
    assert budget.count_connections() <= 3


def test_an_idle_connection_makes_way_for_one_to_another_database(limit_connections):
    budget = limit_connections(2, timeout=60)
    with observing(OBSERVED_SQL, NAME) as counts:
        for alias in ALIASES * 5:
            fetch_rows(alias, "SELECT 1")
            close_all_connections()
    assert budget.count_connections() == max(counts) == 2


def test_databases_in_steady_use_do_not_close_the_connections_of_each_other(limit_connections):
    """To open a connection costs more than to wait until another thread gives one back."""
    budget = limit_connections(4)

    def use(thread: int) -> None:
        for turn in range(100):
            fetch_rows(ALIASES[(thread + turn) % 3], "SELECT 1")
            close_all_connections()

    repeat_concurrently(6, use)
    opened = sum(pool.get_stats()["connections_num"] for pool in budget.pools.values())
    assert opened < 60, "one in ten uses"


def test_a_session_ends_before_another_one_takes_its_place(limit_connections, monkeypatch):
    """The server counts a session until its process has ended; this one is held up meanwhile."""
    monkeypatch.setattr(circuits, "END_TIMEOUT_SECONDS", 60)
    budget = limit_connections(1, timeout=60)
    [[pid]] = fetch_rows("orders", "SELECT pg_backend_pid()")
    close_all_connections()
    os.kill(pid, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        try:
            reading = pool.submit(read, "inventory")
            eventually(budget.ending.lock.locked, timeout=20)
            assert (reading.done(), count_sessions()) == (False, 1)
        finally:
            os.kill(pid, signal.SIGCONT)
        assert reading.result() == [(1,)]


@pytest.mark.parametrize("count", [2, 3])
def test_threads_that_need_several_databases_do_not_wait_for_each_other(limit_connections, count):
    """Each holds the connection to one database while it asks for the next: without more care they stop for ever."""
    budget = limit_connections(count, timeout=120)
    threads, turns = 12, 6

    def use_all_databases(number: int) -> int:
        for turn in range(turns):
            alias = ALIASES[(number + turn) % len(ALIASES)]
            with transaction(alias):
                fetch_rows(alias, "SELECT pg_sleep(0.001)")
        return turns

    with observing(OBSERVED_SQL, NAME) as counts:
        assert repeat_concurrently(threads, use_all_databases) == [turns] * threads
    assert max(counts) == count
    assert budget.count_connections() <= count


def test_no_database_starves_while_another_one_is_always_busy(limit_connections):
    limit_connections(2, timeout=60)
    is_served = threading.Event()

    def work_on_orders(_: int) -> None:
        while not is_served.is_set():
            fetch_rows("orders", "SELECT pg_sleep(0.002)")
            close_all_connections()

    def work_on_payments() -> None:
        try:
            eventually(are_connections_scarce)
            fetch_rows("payments", "SELECT 1")
        finally:
            is_served.set()

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(run_in_thread, work_on_payments)
        assert repeat_concurrently(8, work_on_orders) == [None] * 8
        other.result()


def test_connections_that_no_thread_needs_are_closed(limit_connections):
    budget = limit_connections(8, max_idle=0.1)
    with holding(*ALIASES, *ALIASES):
        assert count_sessions() == 6
    eventually(lambda: budget.count_connections() == count_sessions() == 0)


def test_a_connection_that_cannot_be_configured_is_closed(limit_connections, monkeypatch):
    budget = limit_connections(3, timeout=0.3)
    monkeypatch.setitem(connections.settings["orders"], "SESSION", {"statement_timeout": "1 parsec"})
    with pytest.raises(OUTAGE_ERRORS):
        read("orders")
    eventually(lambda: budget.count_connections() == count_sessions() == 0)


def open_probe(seconds: int = 2) -> psycopg.Connection:
    server = connections.settings["orders"]
    login = {"host": server["HOST"], "port": server["PORT"], "user": server["USER"], "password": server["PASSWORD"]}
    return open_limited_connection(seconds=seconds, dbname=server["NAME"], application_name=NAME, **login)


def test_probes_take_turns_on_the_one_connection_that_is_left_for_them(limit_connections):
    limit_connections(3)

    def probe(_: int) -> bool:
        with open_probe() as connection:
            return connection.execute("SELECT pg_sleep(0.01) IS NOT NULL").fetchone()[0]

    with holding(*ALIASES), observing(OBSERVED_SQL, NAME) as counts:
        assert repeat_concurrently(8, probe) == [True] * 8
    assert max(counts) == 4


def test_a_probe_that_waited_for_one_without_an_answer_need_not_try_itself(limit_connections):
    limit_connections(3)
    began, results = time.monotonic(), []

    def probe(number: int) -> None:
        with suppress(DatabaseSilent), open_probe(seconds=2) as connection:
            connection.answer_timeout = 0.5
            results.append(number)
            connection.execute("SELECT pg_sleep(1)")

    repeat_concurrently(5, probe)
    assert len(results) == 1
    assert time.monotonic() - began < 5 * 0.5
