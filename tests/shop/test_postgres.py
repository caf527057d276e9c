"""The database backend: one transaction at a time, on one alias."""

import select
import threading
import time
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.db import IntegrityError, InternalError, OperationalError, connections
from django.db import transaction as django_transaction
from django.db.backends.postgresql import base as stock
from django.db.transaction import TransactionManagementError
from django.test import TestCase
from psycopg.pq import TransactionStatus

from shop.database import (
    OUTAGES,
    NothingChanged,
    Prepared,
    changed,
    kernel_transaction,
    later,
    require,
    rows,
    transaction,
)
from shop.errors import InTransaction
from shop.transactions import held
from tests.shop.server import cut_connection, name_of, superuser
from tests.threads import at_once, elsewhere


def atomic(alias):
    return django_transaction.atomic(using=alias)


@contextmanager
def stock_backend(*aliases):
    """The same databases with Django's own backend: the guard switched off."""
    ours = {alias: connections[alias] for alias in aliases}
    for alias in aliases:
        connections[alias] = stock.DatabaseWrapper(connections.settings[alias], alias)
    try:
        yield
    finally:
        for alias, connection in ours.items():
            connections[alias].close()
            connections[alias] = connection


def begin_a_second():
    with atomic("orders"), atomic("payments"):
        return "unnoticed"


def read_beside():
    with atomic("orders"):
        rows("payments", "SELECT 1")
        return "unnoticed"


@pytest.mark.parametrize("sequence", [begin_a_second, read_beside])
def test_a_second_alias_is_refused_while_a_transaction_is_open(sequence):
    with pytest.raises(InTransaction, match="payments while a transaction is open on orders"):
        sequence()
    assert held.aliases == []


@pytest.mark.parametrize("sequence", [begin_a_second, read_beside])
def test_djangos_own_backend_would_not_notice(sequence):
    with stock_backend("orders", "payments"):
        assert sequence() == "unnoticed"


def test_the_second_alias_is_allowed_again_after_a_commit():
    with atomic("orders"):
        rows("orders", "SELECT 1")
    with atomic("payments"):
        assert rows("payments", "SELECT 1") == [(1,)]


def test_the_second_alias_is_allowed_again_after_a_rollback():
    with pytest.raises(ZeroDivisionError), atomic("orders"):
        1 / 0  # noqa: B018
    assert rows("payments", "SELECT 1") == [(1,)]


def test_the_second_alias_is_allowed_again_after_the_connection_was_lost():
    with pytest.raises(OperationalError), atomic("orders"):
        cut_connection("orders")
        rows("orders", "SELECT 1")
    assert rows("payments", "SELECT 1") == [(1,)]
    assert rows("orders", "SELECT 1") == [(1,)]


def test_the_second_alias_is_allowed_again_after_the_connection_was_closed_inside():
    with atomic("orders"):
        connections["orders"].close()
    assert held.aliases == []
    assert rows("payments", "SELECT 1") == [(1,)]


def test_the_end_of_an_inner_block_does_not_end_the_transaction():
    with atomic("orders"):
        with pytest.raises(ZeroDivisionError), atomic("orders"):
            1 / 0  # noqa: B018
        with pytest.raises(InTransaction):
            rows("payments", "SELECT 1")


def test_one_thread_does_not_hold_for_another():
    with atomic("orders"):
        assert elsewhere(lambda: rows("payments", "SELECT 1")) == [(1,)]


def test_a_second_alias_is_refused_in_a_thread_too():
    with pytest.raises(InTransaction):
        elsewhere(begin_a_second)


def test_a_pool_whose_connections_were_all_cut_is_back_within_seconds():
    everybody_has_one = threading.Barrier(8)
    at_once(*[lambda: (rows("orders", "SELECT 1"), everybody_has_one.wait(10))] * 8)
    connections.close_all()
    superuser("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", [name_of("orders")])
    began = time.monotonic()
    assert rows("orders", "SELECT 1") == [(1,)]
    assert time.monotonic() - began < 15  # by default: minutes


NOTED = "SELECT note FROM test_notes ORDER BY note"


@pytest.fixture
def notes():
    """A table to write to, and what it holds as others see it."""
    rows("orders", "CREATE TABLE test_notes (note text PRIMARY KEY)")
    yield lambda: [note for [note] in elsewhere(lambda: rows("orders", NOTED))]
    rows("orders", "DROP TABLE test_notes")


def put_down(note):
    later("orders", "INSERT INTO test_notes VALUES (%s)", [note])


def test_what_is_put_off_is_committed_with_the_rest_in_the_order_it_was_said(notes):
    with transaction("orders"):
        put_down("50 % off; it's sent -- late")
        assert rows("orders", NOTED) == [("50 % off; it's sent -- late",)]
        assert changed("orders", "UPDATE test_notes SET note = %s", ["b"]) == 1
        put_down("c")
        assert notes() == []
    assert notes() == ["b", "c"]


def test_what_is_put_off_is_gone_when_the_transaction_fails(notes):
    with pytest.raises(ZeroDivisionError), transaction("orders"):
        put_down("a")
        1 / 0  # noqa: B018
    with transaction("orders"):
        put_down("b")
    assert notes() == ["b"]


@pytest.mark.parametrize("then", [lambda: None, lambda: rows("orders", "SELECT 1")], ids=["COMMIT", "a statement"])
def test_what_goes_wrong_with_it_is_raised_where_it_is_sent_and_nothing_stays(notes, then):
    with pytest.raises(IntegrityError), transaction("orders"):
        put_down("a")
        put_down("b")
        put_down("a")
        then()
    assert notes() == []
    assert rows("orders", "SELECT 1") == [(1,)]


def test_without_a_transaction_there_is_nothing_to_put_off_to():
    with pytest.raises(TransactionManagementError):
        later("orders", "SELECT 1")


def test_a_transaction_begins_with_its_first_statement():
    """Until then nothing is open that could hold others up."""
    with transaction("orders"):
        assert connections["orders"].connection.info.transaction_status == TransactionStatus.IDLE
        rows("orders", "SELECT 1")
        assert connections["orders"].connection.info.transaction_status == TransactionStatus.INTRANS
    assert connections["orders"].connection.info.transaction_status == TransactionStatus.IDLE


ONE = "UPDATE test_notes SET note = %s WHERE note = %s"


def test_what_has_to_change_a_row_is_the_condition_of_the_whole_transaction(notes):
    with transaction("orders"):
        put_down("a")
        require("orders", "note", ONE, ["b", "a"])
    assert notes() == ["b"]
    with pytest.raises(NothingChanged) as refused, transaction("orders"):
        put_down("c")
        require("orders", "note", ONE, ["d", "a"])
        put_down("e")
    assert refused.value.args == ("note",)
    assert notes() == ["b"]
    assert not isinstance(refused.value, OUTAGES)
    assert not connections["orders"].errors_occurred  # the connection is as good as before


def test_negative_control_a_statement_that_may_change_nothing_lets_the_rest_happen(notes):
    with transaction("orders"):
        put_down("c")
        later("orders", ONE, ["d", "a"])
    assert notes() == ["c"]


QUOTED = Prepared("SELECT %(text)s || '%%', %(n)s + 1, %(text)s, now() + %(time)s > now()")


def test_a_prepared_statement_is_planned_once_for_each_connection():
    plans = "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%%|| ''%%%%%%''%%'"
    for n in range(3):
        values = {"time": timedelta(hours=1), "n": n, "text": "it's"}
        assert rows("orders", QUOTED, values) == [("it's%", n + 1, "it's", True)]
    assert rows("orders", plans, []) == [(1,)]
    connections["orders"].connection.close()
    connections["orders"].close()
    assert rows("orders", plans, []) == [(0,)]
    assert rows("orders", QUOTED, {"time": timedelta(0), "n": 1, "text": ""})[0][1] == 2


def test_a_prepared_statement_that_was_first_met_in_a_failed_transaction_works_in_the_next(notes):
    put = Prepared("INSERT INTO test_notes VALUES (%s)")
    for _ in range(2):
        with pytest.raises(IntegrityError), transaction("orders"):
            put_down("a")
            put_down("a")
            rows("orders", put, ["b"])
    with transaction("orders"):
        rows("orders", put, ["b"])
        later("orders", put, ["c"])
    assert notes() == ["b", "c"]


def many_at_once():
    with connections["orders"].cursor() as cursor:
        cursor.executemany("INSERT INTO test_notes VALUES (%s)", [["a"], ["b"]])


def with_a_servers_cursor():
    with connections["orders"].chunked_cursor() as cursor:
        cursor.execute("SELECT 1")
    rows("orders", "INSERT INTO test_notes VALUES ('a')")


@pytest.mark.parametrize("first", [many_at_once, with_a_servers_cursor])
def test_whatever_comes_first_is_in_the_transaction(notes, first):
    with pytest.raises(ZeroDivisionError), transaction("orders"):
        first()
        1 / 0  # noqa: B018
    assert notes() == []


class ATestsOwnTransaction(TestCase):
    """Django's TestCase holds one transaction on each alias; none of them is the application's."""

    databases = ("orders", "inventory", "payments", "users", "notifications")

    def test_does_not_count(self):
        assert held.aliases == []
        assert rows("orders", "SELECT 1") == rows("payments", "SELECT 1") == [(1,)]

    def test_leaves_the_guard_on_for_what_is_opened_inside(self):
        with transaction("orders"), pytest.raises(InTransaction):
            rows("payments", "SELECT 1")
        assert rows("payments", "SELECT 1") == [(1,)]


def write_where_nothing_may_be_written():
    with atomic("orders"):
        rows("orders", "SET TRANSACTION READ ONLY")
        rows("orders", "DELETE FROM shop_idempotencykey WHERE false")


def test_a_read_only_server_is_an_outage():
    with pytest.raises(OUTAGES):
        write_where_nothing_may_be_written()


def test_djangos_own_backend_would_call_it_an_internal_error():
    with stock_backend("orders"), pytest.raises(InternalError):
        write_where_nothing_may_be_written()


@pytest.mark.parametrize("sql", ["SELECT 1", Prepared("SELECT 'not planned yet', %s::int")], ids=["plain", "prepared"])
def test_what_is_put_off_on_a_connection_that_is_cut_meets_an_outage(sql):
    with pytest.raises(OUTAGES), transaction("orders"):
        cut_connection("orders")
        later("orders", sql, [1] if isinstance(sql, Prepared) else [])
    assert rows("orders", "SELECT 1") == [(1,)], "and the next statement gets another"


def stay_away_in_a_transaction():
    """As a process does that is stopped for longer than the server lets a session idle."""
    with atomic("orders"):
        rows("orders", "SET LOCAL idle_in_transaction_session_timeout = '10ms'")
        select.select([connections["orders"].connection.fileno()], [], [], 10)  # until the server says that it has gone
        rows("orders", "SELECT 1")


def test_a_session_that_was_away_for_too_long_met_an_outage():
    with pytest.raises(OUTAGES):
        stay_away_in_a_transaction()
    assert rows("orders", "SELECT 1") == [(1,)], "and the next statement gets another"


def test_djangos_own_backend_would_call_that_an_internal_error_too():
    with stock_backend("orders"), pytest.raises(InternalError, match="idle-in-transaction"):
        stay_away_in_a_transaction()


def test_a_use_case_joins_the_kernels_transaction_of_its_context():
    with kernel_transaction("orders"):
        first = rows("orders", "SELECT pg_current_xact_id()")
        with transaction("orders"):
            assert rows("orders", "SELECT pg_current_xact_id()") == first


def test_what_joined_is_rolled_back_with_the_kernels():
    def joined():
        with kernel_transaction("orders"):
            with transaction("orders"):
                rows("orders", "CREATE TABLE test_joined ()")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        joined()
    assert rows("orders", "SELECT to_regclass('test_joined')") == [(None,)]


OPEN = {
    "another use case's": lambda: transaction("orders"),
    "Django's": lambda: atomic("orders"),
    "the kernel's of another context": lambda: kernel_transaction("payments"),
}


@pytest.mark.parametrize("begin", OPEN.values(), ids=OPEN)
def test_a_use_case_joins_no_other_transaction(begin):
    with begin(), pytest.raises(InTransaction, match="a transaction on orders was begun"), transaction("orders"):
        pass


def test_nothing_is_joined_after_the_kernels_transaction():
    with kernel_transaction("orders"):
        pass
    with transaction("orders"), pytest.raises(InTransaction), transaction("orders"):
        pass
