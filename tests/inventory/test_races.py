"""Many at once: the database decides, exactly one way. Each guard is switched off once, and then it goes wrong."""

import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from uuid import uuid4

import pytest
from django.db import IntegrityError, OperationalError

from contexts.inventory.interface import OutOfStock, Reservation, inventory
from contexts.inventory.service import editing, reservations, stock
from shop.database import changed, kernel_transaction, rows, transaction
from shop.errors import Closed
from tests.inventory.books import assert_stock_adds_up, facts, movements, status_of, stock_of
from tests.inventory.stock import HOLD, lines, product, reserved, stocked
from tests.threads import at_once, eventually

pytestmark = pytest.mark.usefixtures("verified")

BUYERS = 50


@pytest.fixture(autouse=True)
def books_balance():
    yield
    assert_stock_adds_up()


def waiting_for(first, then):
    """What `then` answers that began before the transaction of `first` was committed, and waited for it."""
    with ThreadPoolExecutor(1) as pool:
        with kernel_transaction("inventory"):
            first()
            waiting = pool.submit(at_once, then)
            eventually(lambda: rows("inventory", "SELECT 1 FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'"))
        [answer] = waiting.result()
    return answer


def kinds(answers):
    return Counter(type(answer) for answer in answers)


def test_fifty_buyers_of_the_last_unit_are_one_winner_and_49_told_that_none_is_left():
    sku = stocked(1)
    answers = at_once(*[lambda: reserved((sku, 1))] * BUYERS)
    assert kinds(answers) == {Reservation: 1, OutOfStock: BUYERS - 1}
    assert {a.available for a in answers if isinstance(a, OutOfStock)} == {0}
    assert stock_of(sku) == (1, 1)
    assert facts("stock", sku) == [(1, "sold_out")]


def test_exactly_as_many_as_there_are_units_are_sold():
    sku = stocked(10)
    answers = at_once(*[lambda: reserved((sku, 1))] * BUYERS)
    assert kinds(answers) == {Reservation: 10, OutOfStock: BUYERS - 10}
    assert stock_of(sku) == (10, 10)


def buy_without_a_guard(table, sku, everybody_has_looked):
    """What reserve would be if it read first and wrote then."""
    [(available,)] = rows("inventory", f"SELECT on_hand - reserved FROM {table} WHERE sku = %s", [sku])
    everybody_has_looked.wait()
    return available > 0 and changed("inventory", f"UPDATE {table} SET reserved = reserved + 1 WHERE sku = %s", [sku])


def test_control_reading_before_writing_runs_into_the_constraint():
    sku, barrier = stocked(1), threading.Barrier(5)
    answers = at_once(*[lambda: buy_without_a_guard("inventory_stock", sku, barrier)] * 5)
    assert kinds(answers) == {int: 1, IntegrityError: 4}
    changed("inventory", "UPDATE inventory_stock SET reserved = 0 WHERE sku = %s", [sku])


def test_control_reading_before_writing_oversells_where_there_is_no_constraint():
    sku, table, barrier = stocked(1), f"unguarded_{uuid4().hex}", threading.Barrier(5)
    changed("inventory", f"CREATE TABLE {table} AS SELECT * FROM inventory_stock WHERE sku = %s", [sku])
    answers = at_once(*[lambda: buy_without_a_guard(table, sku, barrier)] * 5)
    assert answers == [1] * 5
    assert rows("inventory", f"SELECT on_hand, reserved FROM {table}") == [(1, 5)]
    changed("inventory", f"DROP TABLE {table}")


def test_orders_that_name_the_same_skus_in_opposite_order_never_wait_for_each_other():
    skus = product([1000, 1000, 1000])

    def buy():
        for _ in range(10):
            shuffled = random.sample(skus, 3)
            found = reserved(*((sku, 1) for sku in shuffled))
            inventory.release(order_id=found.order_id)

    assert at_once(*[buy] * 16) == [None] * 16
    assert [stock_of(sku) for sku in skus] == [(1000, 0)] * 3


def test_control_locking_in_the_order_given_deadlocks():
    one, other = product([10, 10])
    both_hold_their_first = threading.Barrier(2)

    def lock(first, then):
        with transaction("inventory"):
            changed("inventory", "SELECT FROM inventory_stock WHERE sku = %s FOR UPDATE", [first])
            both_hold_their_first.wait()
            changed("inventory", "SELECT FROM inventory_stock WHERE sku = %s FOR UPDATE", [then])

    answers = at_once(lambda: lock(one, other), lambda: lock(other, one))
    [deadlock] = [answer for answer in answers if answer is not None]
    assert isinstance(deadlock, OperationalError)
    assert "deadlock" in str(deadlock)


def test_an_order_reserved_twenty_times_at_once_is_reserved_once():
    sku, order_id = stocked(20), uuid4()
    answers = at_once(*[lambda: reserved((sku, 1), order_id=order_id)] * 20)
    assert set(answers) == {answers[0]}
    assert isinstance(answers[0], Reservation)
    assert stock_of(sku) == (20, 1)
    assert facts("reservation", order_id) == [(1, "reservation_held")]


def test_of_a_refusal_repeated_at_once_all_hear_the_same():
    sku, order_id = stocked(1), uuid4()
    answers = at_once(*[lambda: reserved((sku, 2), order_id=order_id)] * 20)
    assert [answer.facts for answer in answers] == [{"sku": sku, "available": 1}] * 20
    assert facts("reservation", order_id) == [(1, "reservation_refused")]


def test_a_release_that_meets_its_reserve_leaves_nothing_reserved_whichever_is_first():
    sku = stocked(1000)
    for _ in range(20):
        order_id = uuid4()
        do, undo = at_once(partial(reserved, (sku, 1), order_id=order_id), partial(inventory.release, order_id=order_id))
        assert isinstance(do, Reservation | Closed)
        assert undo.status == "released"
        assert stock_of(sku) == (1000, 0)


def test_a_release_that_meets_the_commit_ends_with_the_units_on_the_shelf():
    for _ in range(20):
        sku, order_id = stocked(5), uuid4()
        reserved((sku, 2), order_id=order_id)
        _, undo = at_once(partial(reservations.commit, order_id), partial(inventory.release, order_id=order_id))
        assert stock_of(sku) == (5, 0)
        assert movements(sku) == ([("sale", -2), ("restock", 2)] if undo.status == "restocked" else [])


def test_releases_at_once_give_back_once():
    sku, order_id = stocked(5), uuid4()
    reserved((sku, 3), order_id=order_id)
    answers = at_once(*[lambda: inventory.release(order_id=order_id)] * 20)
    assert {answer.status for answer in answers} == {"released"}
    assert stock_of(sku) == (5, 0)


def test_buyers_and_a_count_that_takes_units_away_never_promise_more_than_there_is():
    sku = stocked(10)

    def take_away():
        return stock.adjust(sku=sku, quantity=-5, reason="damaged", actor="staff@example.com")

    answers = at_once(*[lambda: reserved((sku, 1))] * 20, take_away, take_away)
    on_hand, held = stock_of(sku)
    assert held == kinds(answers)[Reservation]
    assert on_hand == 10 - 5 * kinds(answers)[stock.Level]
    assert on_hand == held


PRICES = """SELECT min_price, max_price FROM inventory_product product
            JOIN inventory_variant variant ON variant.product_id = product.id WHERE sku = %s"""


def test_prices_of_one_product_changed_at_once_leave_the_list_with_the_true_range():
    skus = product([1, 1, 1, 1])
    at_once(*(partial(editing.edit_variant, sku, actor="staff", price=10 * n) for n, sku in enumerate(skus, 1)))
    assert rows("inventory", PRICES, [skus[0]]) == [(10, 40)]


def test_control_prices_projected_without_the_lock_of_the_product_are_stale():
    skus = product([1, 1], price=1000)
    [(product_id,)] = rows("inventory", "SELECT product_id FROM inventory_variant WHERE sku = %s", [skus[0]])

    def reprice(sku, price):
        with transaction("inventory"):
            changed("inventory", "UPDATE inventory_variant SET price = %s WHERE sku = %s", [price, sku])
            editing.project_prices([product_id])

    waiting_for(partial(reprice, skus[0], 10), partial(reprice, skus[1], 20))
    assert rows("inventory", PRICES, [skus[0]]) == [(20, 1000)]


def test_a_release_that_waited_for_its_reserve_gives_back_what_that_took():
    sku, order_id = stocked(5), uuid4()
    reserve = partial(reservations.reserve, order_id, lines((sku, 2)), HOLD)
    answer = waiting_for(reserve, lambda: inventory.release(order_id=order_id))
    assert (answer.status, answer.lines) == ("released", lines((sku, 2)))
    assert stock_of(sku) == (5, 0)


def test_control_one_statement_that_releases_and_reads_the_lines_misses_those_it_waited_for():
    sku, order_id = stocked(5), uuid4()
    both = """INSERT INTO inventory_reservation (order_id, status, sequence) VALUES (%s, 'released', 1)
              ON CONFLICT (order_id) DO UPDATE SET sequence = inventory_reservation.sequence
              RETURNING (SELECT count(*) FROM inventory_reservationline line WHERE line.order_id = %s)"""
    reserve = partial(reservations.reserve, order_id, lines((sku, 2)), HOLD)
    assert waiting_for(reserve, lambda: rows("inventory", both, [order_id, order_id])) == [(0,)]
    assert inventory.release(order_id=order_id).lines == lines((sku, 2))


def test_control_releasing_after_a_mere_look_gives_back_more_than_was_taken():
    sku, order_id, looked = stocked(9), uuid4(), threading.Barrier(2)
    reserved((sku, 3), order_id=order_id)
    reserved((sku, 3))

    def release_after_a_look():
        held = status_of(order_id) == "held"
        looked.wait()
        return held and changed("inventory", "UPDATE inventory_stock SET reserved = reserved - 3 WHERE sku = %s", [sku])

    at_once(release_after_a_look, release_after_a_look)
    with pytest.raises(AssertionError):
        assert_stock_adds_up()
    changed("inventory", "UPDATE inventory_stock SET reserved = 6 WHERE sku = %s", [sku])
