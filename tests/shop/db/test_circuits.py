"""An answer of a database has a time limit, and a database that does not answer at all is left alone for a while."""

import os
import signal
import time
from contextlib import closing, contextmanager

import psycopg
import pytest
from django.db import OperationalError, connections

from shop.db.database import allow_long_statements, fetch_rows
from shop.db.postgres import circuits
from shop.db.postgres.circuits import Circuit, DatabaseSilent, GuardedConnection
from tests.concurrency import eventually, run_in_thread
from tests.shop.db.hanging_proxy import HangingProxy

ALIAS = "users"
NEVER_SECONDS = 60.0


@pytest.fixture
def proxy():
    with closing(HangingProxy()) as proxy:
        yield proxy


@contextmanager
def connect(url: str, circuit: Circuit, limit: float | None = NEVER_SECONDS):
    with closing(GuardedConnection.connect(url, autocommit=True)) as connection:
        connection.circuit, connection.answer_timeout = circuit, limit
        yield connection


def test_a_statement_on_a_database_that_hangs_is_abandoned_and_opens_the_circuit(proxy):
    circuit = Circuit(ALIAS)
    with connect(proxy.url(ALIAS), circuit) as connection:
        proxy.is_running.clear()
        began = time.monotonic()
        with pytest.raises(DatabaseSilent):
            connection.execute("SELECT 1")
        assert time.monotonic() - began < NEVER_SECONDS / 3
        assert connection.closed and circuit.is_open
        with pytest.raises(DatabaseSilent):
            circuit.assert_closed()
        proxy.is_running.set()
        eventually(lambda: not circuit.is_open or _is_closed(circuit))


def _is_closed(circuit: Circuit) -> bool:
    try:
        circuit.assert_closed()
    except DatabaseSilent:
        return False
    return True


def test_an_open_circuit_abandons_the_statements_of_the_other_threads(proxy):
    circuit = Circuit(ALIAS)
    with connect(proxy.url(ALIAS), circuit) as first, connect(proxy.url(ALIAS), circuit) as second:
        proxy.is_running.clear()
        with pytest.raises(DatabaseSilent):
            first.execute("SELECT 1")
        with pytest.raises(DatabaseSilent):
            second.execute("SELECT 1")
        assert second.closed


def test_a_slow_statement_of_a_server_that_works_is_not_abandoned(proxy):
    """It is silent for longer than a statement may be without a probe."""
    circuit = Circuit(ALIAS)
    with connect(proxy.url(ALIAS), circuit) as connection:
        sql = "SELECT pg_sleep(%s), 42"
        assert connection.execute(sql, [2.5 * circuits.SILENCE_SECONDS]).fetchone()[1] == 42
        assert not circuit.is_open


def test_an_answer_may_not_take_longer_than_the_setting(proxy):
    with connect(proxy.url(ALIAS), Circuit(ALIAS), limit=2.0) as connection:
        with pytest.raises(DatabaseSilent, match=r"no answer within 2\.0 s"):
            connection.execute("SELECT pg_sleep(60)")
        assert connection.closed


def test_a_session_whose_process_is_stopped_is_abandoned():
    def use_stopped_session():
        connections[ALIAS].ensure_connection()
        pid = connections[ALIAS].connection.info.backend_pid
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(OperationalError, match="does not answer"):
                fetch_rows(ALIAS, "SELECT 1")
        finally:
            os.kill(pid, signal.SIGCONT)
        connections[ALIAS].close()
        assert fetch_rows(ALIAS, "SELECT 1") == [(1,)]

    run_in_thread(use_stopped_session)


def test_connections_have_the_limit_of_the_settings_except_for_long_statements(settings):
    connections[ALIAS].ensure_connection()
    assert connections[ALIAS].connection.answer_timeout == settings.DATABASES[ALIAS]["ANSWER_TIMEOUT"] == 17
    with allow_long_statements(ALIAS):
        assert connections[ALIAS].connection.answer_timeout is None
    assert connections[ALIAS].connection.answer_timeout == 17


def test_a_server_that_refuses_connections_does_not_open_the_circuit(proxy):
    circuit = Circuit(ALIAS)
    proxy.close()
    address = psycopg.conninfo.conninfo_to_dict(proxy.url(ALIAS))
    assert circuit.is_answering(address)
    assert not circuit.is_open
