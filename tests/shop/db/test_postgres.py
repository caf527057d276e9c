"""The database backend: one transaction per thread, deferred and prepared statements, outages."""

import select
import signal
import threading
import time
import uuid
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from django.conf import settings
from django.db import DataError, IntegrityError, InternalError, OperationalError, ProgrammingError, connections
from django.db import transaction as django_transaction
from django.db.backends.postgresql import base as stock
from django.db.transaction import TransactionManagementError
from django.test import TestCase
from psycopg.pq import TransactionStatus
from psycopg.types.json import Jsonb

from contexts.orders.interface import OrderStatus
from shop.db.database import (
    OUTAGE_ERRORS,
    NoRowChanged,
    PreparedStatement,
    close_broken_connections,
    execute,
    execute_deferred,
    execute_or_abort,
    fetch_rows,
    joinable_transaction,
    transaction,
)
from shop.db.postgres.session_settings import format_duration
from shop.db.transactions import transaction_state
from shop.errors import InTransaction
from tests.concurrency import run_concurrently, run_in_thread
from tests.shop.db.superuser_session import database_name, execute_as_superuser, terminate_connection


def atomic(alias):
    return django_transaction.atomic(using=alias)


@contextmanager
def stock_backend(*aliases):
    """Use Django's own backend, without the guard, for these aliases."""
    ours = {alias: connections[alias] for alias in aliases}
    for alias in aliases:
        connections[alias] = stock.DatabaseWrapper(connections.settings[alias], alias)
    try:
        yield
    finally:
        for alias, connection in ours.items():
            connections[alias].close()
            connections[alias] = connection


def begin_on_a_second_alias():
    with atomic("orders"), atomic("payments"):
        return "allowed"


def read_on_a_second_alias():
    with atomic("orders"):
        fetch_rows("payments", "SELECT 1")
        return "allowed"


@pytest.mark.parametrize("sequence", [begin_on_a_second_alias, read_on_a_second_alias])
def test_a_second_alias_is_refused_while_a_transaction_is_open(sequence):
    with pytest.raises(InTransaction, match="payments while a transaction is open on orders"):
        sequence()
    assert transaction_state.open_aliases == []


@pytest.mark.parametrize("sequence", [begin_on_a_second_alias, read_on_a_second_alias])
def test_control_djangos_own_backend_allows_a_second_alias(sequence):
    with stock_backend("orders", "payments"):
        assert sequence() == "allowed"


def test_the_second_alias_is_allowed_again_after_a_commit():
    with atomic("orders"):
        fetch_rows("orders", "SELECT 1")
    with atomic("payments"):
        assert fetch_rows("payments", "SELECT 1") == [(1,)]


def test_the_second_alias_is_allowed_again_after_a_rollback():
    with pytest.raises(ZeroDivisionError), atomic("orders"):
        1 / 0  # noqa: B018
    assert fetch_rows("payments", "SELECT 1") == [(1,)]


def test_the_second_alias_is_allowed_again_after_the_connection_was_lost():
    with pytest.raises(OperationalError), atomic("orders"):
        terminate_connection("orders")
        fetch_rows("orders", "SELECT 1")
    assert fetch_rows("payments", "SELECT 1") == [(1,)]
    assert fetch_rows("orders", "SELECT 1") == [(1,)]


def test_the_second_alias_is_allowed_again_after_the_connection_was_closed_in_the_block():
    with atomic("orders"):
        connections["orders"].close()
    assert transaction_state.open_aliases == []
    assert fetch_rows("payments", "SELECT 1") == [(1,)]


def test_the_end_of_an_inner_block_does_not_end_the_transaction():
    with atomic("orders"):
        with pytest.raises(ZeroDivisionError), atomic("orders"):
            1 / 0  # noqa: B018
        with pytest.raises(InTransaction):
            fetch_rows("payments", "SELECT 1")


def test_a_transaction_of_one_thread_does_not_block_another():
    with atomic("orders"):
        assert run_in_thread(lambda: fetch_rows("payments", "SELECT 1")) == [(1,)]


def test_a_second_alias_is_refused_in_a_thread_too():
    with pytest.raises(InTransaction):
        run_in_thread(begin_on_a_second_alias)


def test_a_pool_recovers_after_all_connections_were_terminated():
    all_connected = threading.Barrier(8)
    run_concurrently(*[lambda: (fetch_rows("orders", "SELECT 1"), all_connected.wait(10))] * 8)
    connections.close_all()
    execute_as_superuser(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", [database_name("orders")]
    )
    began = time.monotonic()
    assert fetch_rows("orders", "SELECT 1") == [(1,)]
    assert time.monotonic() - began < 15  # with psycopg's default it takes minutes


NOTES_SQL = "SELECT note FROM test_notes ORDER BY note"


@pytest.fixture
def notes():
    """A table, and a function that returns its committed rows."""
    fetch_rows("orders", "CREATE TABLE test_notes (note text PRIMARY KEY)")
    yield lambda: [note for [note] in run_in_thread(lambda: fetch_rows("orders", NOTES_SQL))]
    fetch_rows("orders", "DROP TABLE test_notes")


def insert_deferred(note):
    execute_deferred("orders", "INSERT INTO test_notes VALUES (%s)", [note])


def test_deferred_statements_are_committed_in_their_order(notes):
    with transaction("orders"):
        insert_deferred("50 % off; it's sent -- late")
        assert fetch_rows("orders", NOTES_SQL) == [("50 % off; it's sent -- late",)]
        assert execute("orders", "UPDATE test_notes SET note = %s", ["b"]) == 1
        insert_deferred("c")
        assert notes() == []
    assert notes() == ["b", "c"]


def test_deferred_statements_are_discarded_when_the_transaction_fails(notes):
    with pytest.raises(ZeroDivisionError), transaction("orders"):
        insert_deferred("a")
        1 / 0  # noqa: B018
    with transaction("orders"):
        insert_deferred("b")
    assert notes() == ["b"]


@pytest.mark.parametrize(
    "then", [lambda: None, lambda: fetch_rows("orders", "SELECT 1")], ids=["COMMIT", "a statement"]
)
def test_an_error_of_a_deferred_statement_is_raised_at_the_flush_and_rolls_back(notes, then):
    with pytest.raises(IntegrityError), transaction("orders"):
        insert_deferred("a")
        insert_deferred("b")
        insert_deferred("a")
        then()
    assert notes() == []
    assert fetch_rows("orders", "SELECT 1") == [(1,)]


def test_deferring_outside_a_transaction_is_refused():
    with pytest.raises(TransactionManagementError):
        execute_deferred("orders", "SELECT 1")


def test_a_transaction_begins_with_its_first_statement():
    """Until then no transaction is open that could block others."""
    with transaction("orders"):
        assert connections["orders"].connection.info.transaction_status == TransactionStatus.IDLE
        fetch_rows("orders", "SELECT 1")
        assert connections["orders"].connection.info.transaction_status == TransactionStatus.INTRANS
    assert connections["orders"].connection.info.transaction_status == TransactionStatus.IDLE


UPDATE_NOTE_SQL = "UPDATE test_notes SET note = %s WHERE note = %s"


def test_execute_or_abort_rolls_back_when_no_row_changes(notes):
    with transaction("orders"):
        insert_deferred("a")
        execute_or_abort("orders", "note", UPDATE_NOTE_SQL, ["b", "a"])
    assert notes() == ["b"]
    with pytest.raises(NoRowChanged) as refused, transaction("orders"):
        insert_deferred("c")
        execute_or_abort("orders", "note", UPDATE_NOTE_SQL, ["d", "a"])
        insert_deferred("e")
    assert refused.value.args == ("note",)
    assert notes() == ["b"]
    assert not isinstance(refused.value, OUTAGE_ERRORS)
    assert not connections["orders"].errors_occurred  # the connection can still be used


def test_control_a_deferred_statement_without_effect_does_not_abort(notes):
    with transaction("orders"):
        insert_deferred("c")
        execute_deferred("orders", UPDATE_NOTE_SQL, ["d", "a"])
    assert notes() == ["c"]


PREPARED_WITH_QUOTES = PreparedStatement("SELECT %(text)s || '%%', %(n)s + 1, %(text)s, now() + %(time)s > now()")


def test_a_prepared_statement_is_planned_once_for_each_connection():
    plans = "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%%|| ''%%%%%%''%%'"
    for n in range(3):
        values = {"time": timedelta(hours=1), "n": n, "text": "it's"}
        assert fetch_rows("orders", PREPARED_WITH_QUOTES, values) == [("it's%", n + 1, "it's", True)]
    assert fetch_rows("orders", plans, []) == [(1,)]
    connections["orders"].connection.close()
    connections["orders"].close()
    assert fetch_rows("orders", plans, []) == [(0,)]
    assert fetch_rows("orders", PREPARED_WITH_QUOTES, {"time": timedelta(0), "n": 1, "text": ""})[0][1] == 2


def test_a_prepared_statement_first_used_in_a_failed_transaction_works_in_the_next(notes):
    put = PreparedStatement("INSERT INTO test_notes VALUES (%s)")
    for _ in range(2):
        with pytest.raises(IntegrityError), transaction("orders"):
            insert_deferred("a")
            insert_deferred("a")
            fetch_rows("orders", put, ["b"])
    with transaction("orders"):
        fetch_rows("orders", put, ["b"])
        execute_deferred("orders", put, ["c"])
    assert notes() == ["b", "c"]


def test_prepared_and_other_statements_are_sent_in_their_order(notes):
    rename = PreparedStatement("UPDATE test_notes SET note = note || %s")
    with transaction("orders"):
        insert_deferred("a")
        execute_deferred("orders", rename, ["b"])
        assert fetch_rows("orders", NOTES_SQL) == [("ab",)]
        execute_deferred("orders", rename, ["c"])
        insert_deferred("d")
        assert execute("orders", rename, ["e"]) == 2
    assert notes() == ["abce", "de"]


def test_a_statement_is_prepared_once_in_a_message_that_has_it_twice(notes):
    put = PreparedStatement("INSERT INTO test_notes SELECT %s WHERE true")
    with transaction("orders"):
        execute_deferred("orders", put, ["a"])
        execute_deferred("orders", put, ["b"])
    assert notes() == ["a", "b"]


def test_a_prepared_statement_that_fails_prevents_those_after_it(notes):
    put = PreparedStatement("INSERT INTO test_notes VALUES (%s) RETURNING note")
    with pytest.raises(IntegrityError), transaction("orders"):
        for note in ["a", "a", "b"]:
            execute_deferred("orders", put, [note])
    assert notes() == []
    assert fetch_rows("orders", put, ["b"]) == [("b",)], "the connection can still be used"


def test_values_of_a_prepared_statement_are_not_part_of_its_text():
    own = PreparedStatement("SELECT query, %s FROM pg_stat_activity WHERE pid = pg_backend_pid()")
    [(text, value)] = fetch_rows("orders", own, ["ann@example.com"])
    assert value == "ann@example.com"
    assert "ann@example.com" not in text


ELEMENTS = [
    "",
    "null",
    "NULL",
    None,
    "a,b",
    '{"a": "\\\\"}',
    "\\",
    '"',
    "{}",
    " a ",
    "\n",
    "é",
    "a\\",
    OrderStatus.PENDING,
]


@pytest.mark.parametrize(
    ("kind", "elements"),
    [
        ("text", []),
        ("text", ELEMENTS),
        ("jsonb", [Jsonb({"a": '\\"{,}', "b": None}), Jsonb([]), Jsonb("x")]),
        ("uuid", [uuid.UUID(int=1), None]),
        ("bigint", [1, -(2**63), None]),
        ("boolean", [True, False, None]),
        ("interval", [timedelta(days=-1, microseconds=1)]),
        ("timestamptz", [datetime(2026, 2, 28, 23, 59, 59, 999999, tzinfo=UTC)]),
        ("bytea", [b"\x00\\,"]),
        ("text", [["a", '"'], ["b", None]]),
    ],
)
def test_an_array_is_stored_as_psycopg_stores_it(kind, elements):
    sql = f"SELECT (%s::{kind}[])::text"
    with connections["orders"].cursor() as cursor:
        cursor.execute(sql, [elements])
        assert fetch_rows("orders", PreparedStatement(sql), [elements]) == cursor.fetchall()


def test_an_array_with_a_null_character_is_refused():
    with pytest.raises(DataError, match="NUL"):
        fetch_rows("orders", PreparedStatement("SELECT %s::text[]"), [["a\0b"]])


@pytest.mark.parametrize("parameters", [[], [1, 2]])
def test_a_wrong_number_of_parameters_is_refused(parameters):
    with pytest.raises(ProgrammingError, match="parameters for 1 placeholders"):
        fetch_rows("orders", PreparedStatement("SELECT %s::int"), parameters)


class Interrupted(Exception):
    pass


def test_a_connection_whose_answer_was_not_awaited_is_closed():
    """Otherwise the next statement would get the answer of this one."""

    def interrupt(*_):
        raise Interrupted

    fetch_rows("orders", "SELECT 1")
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(Interrupted):
            fetch_rows("orders", PreparedStatement("SELECT 'late', pg_sleep(%s)"), [0.3])
    finally:
        signal.signal(signal.SIGALRM, before)
    assert connections["orders"].connection.closed
    with pytest.raises(OUTAGE_ERRORS):
        fetch_rows("orders", PreparedStatement("SELECT %s::int"), [1])
    close_broken_connections()
    assert fetch_rows("orders", PreparedStatement("SELECT %s::int"), [1]) == [(1,)]


def executemany_first():
    with connections["orders"].cursor() as cursor:
        cursor.executemany("INSERT INTO test_notes VALUES (%s)", [["a"], ["b"]])


def server_cursor_first():
    with connections["orders"].chunked_cursor() as cursor:
        cursor.execute("SELECT 1")
    fetch_rows("orders", "INSERT INTO test_notes VALUES ('a')")


@pytest.mark.parametrize("first", [executemany_first, server_cursor_first])
def test_the_first_statement_is_part_of_the_transaction(notes, first):
    with pytest.raises(ZeroDivisionError), transaction("orders"):
        first()
        1 / 0  # noqa: B018
    assert notes() == []


class TestCaseTransaction(TestCase):
    """Django's TestCase holds one transaction on each alias. None of them counts as the application's."""

    databases = settings.ALL_CONTEXTS

    def test_does_not_count(self):
        assert transaction_state.open_aliases == []
        assert fetch_rows("orders", "SELECT 1") == fetch_rows("payments", "SELECT 1") == [(1,)]

    def test_does_not_disable_the_guard_for_transactions_inside(self):
        with transaction("orders"), pytest.raises(InTransaction):
            fetch_rows("payments", "SELECT 1")
        assert fetch_rows("payments", "SELECT 1") == [(1,)]


def write_read_only():
    with atomic("orders"):
        fetch_rows("orders", "SET TRANSACTION READ ONLY")
        fetch_rows("orders", "DELETE FROM shop_idempotencykey WHERE false")


def test_a_read_only_server_is_an_outage():
    with pytest.raises(OUTAGE_ERRORS):
        write_read_only()


def test_control_djangos_own_backend_raises_internal_error_when_read_only():
    with stock_backend("orders"), pytest.raises(InternalError):
        write_read_only()


@pytest.mark.parametrize(
    "sql", ["SELECT 1", PreparedStatement("SELECT 'not prepared yet', %s::int")], ids=["plain", "prepared"]
)
def test_a_deferred_statement_on_a_terminated_connection_is_an_outage(sql):
    with pytest.raises(OUTAGE_ERRORS), transaction("orders"):
        terminate_connection("orders")
        execute_deferred("orders", sql, [1] if isinstance(sql, PreparedStatement) else [])
    assert fetch_rows("orders", "SELECT 1") == [(1,)], "the next statement opens a new connection"


@pytest.mark.parametrize("seconds", [4, 15, 60, 90, 600, 3600])
def test_a_duration_is_formatted_as_the_server_shows_it(seconds):
    name, value = "idle_in_transaction_session_timeout", format_duration(seconds)
    with transaction("orders"):
        fetch_rows("orders", "SELECT set_config(%s, %s, true)", [name, f"{seconds}s"])
        assert fetch_rows("orders", "SELECT current_setting(%s)", [name]) == [(value,)]


def idle_beyond_the_timeout():
    """Do what a process does that is stopped in a transaction for longer than the server's timeout."""
    with atomic("orders"):
        fetch_rows("orders", "SET LOCAL idle_in_transaction_session_timeout = '10ms'")
        select.select([connections["orders"].connection.fileno()], [], [], 10)  # until the server has ended the session
        fetch_rows("orders", "SELECT 1")


def test_a_session_beyond_the_idle_timeout_is_an_outage():
    with pytest.raises(OUTAGE_ERRORS):
        idle_beyond_the_timeout()
    assert fetch_rows("orders", "SELECT 1") == [(1,)], "the next statement opens a new connection"


def test_control_djangos_own_backend_raises_internal_error_after_the_idle_timeout():
    with stock_backend("orders"), pytest.raises(InternalError, match="idle-in-transaction"):
        idle_beyond_the_timeout()


def test_a_use_case_joins_the_kernels_transaction_of_its_context():
    with joinable_transaction("orders"):
        first = fetch_rows("orders", "SELECT pg_current_xact_id()")
        with transaction("orders"):
            assert fetch_rows("orders", "SELECT pg_current_xact_id()") == first


def test_a_joined_use_case_is_rolled_back_with_the_kernels_transaction():
    def joined():
        with joinable_transaction("orders"):
            with transaction("orders"):
                fetch_rows("orders", "CREATE TABLE test_joined ()")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        joined()
    assert fetch_rows("orders", "SELECT to_regclass('test_joined')") == [(None,)]


OPEN = {
    "another use case's": lambda: transaction("orders"),
    "Django's": lambda: atomic("orders"),
    "the kernel's of another context": lambda: joinable_transaction("payments"),
}


@pytest.mark.parametrize("begin", OPEN.values(), ids=OPEN)
def test_a_use_case_joins_no_other_transaction(begin):
    with begin(), pytest.raises(InTransaction, match="a transaction on orders was begun"), transaction("orders"):
        pass


def test_nothing_is_joined_after_the_kernels_transaction():
    with joinable_transaction("orders"):
        pass
    with transaction("orders"), pytest.raises(InTransaction), transaction("orders"):
        pass
