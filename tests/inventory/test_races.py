"""Concurrent reservations: the database decides races. Each guard has a negative control without it."""

import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from uuid import uuid4

import pytest
from django.db import IntegrityError, OperationalError

from contexts.inventory.interface import OutOfStock, Reservation, inventory
from contexts.inventory.service import catalogue_editing, reservations, stock
from shop.calls.tracing import start_trace
from shop.db.database import execute, fetch_rows, joinable_transaction, transaction
from shop.errors import Closed
from tests.concurrency import eventually, run_concurrently
from tests.factories import HOLD_DURATION, create_product, create_sku, order_lines, reserve_units
from tests.inventory.queries import assert_stock_adds_up, movements, published_events, reservation_status_of, stock_of

pytestmark = pytest.mark.usefixtures("verified")

BUYERS = 50


@pytest.fixture(autouse=True)
def assert_consistent_stock():
    yield
    assert_stock_adds_up()


def run_blocked_by(first, second):
    """Run `first`, start `second` before the commit of `first`, and return the result of `second`, which had to wait."""
    with ThreadPoolExecutor(1) as pool:
        with joinable_transaction("inventory"):
            first()
            waiting = pool.submit(run_concurrently, second)
            await_waiting_transaction()
        [result] = waiting.result()
    return result


def await_waiting_transaction():
    """Wait until a transaction waits for the end of another one."""
    eventually(
        lambda: fetch_rows("inventory", "SELECT 1 FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'")
    )


def count_types(results):
    return Counter(type(result) for result in results)


def test_of_fifty_buyers_of_the_last_unit_one_wins_and_49_get_out_of_stock():
    sku = create_sku(1)
    results = run_concurrently(*[lambda: reserve_units((sku, 1))] * BUYERS)
    assert count_types(results) == {Reservation: 1, OutOfStock: BUYERS - 1}
    assert {result.available for result in results if isinstance(result, OutOfStock)} == {0}
    assert stock_of(sku) == (1, 1)
    assert published_events("stock", sku) == [(1, "sold_out")]


def test_no_more_units_are_reserved_than_are_on_hand():
    sku = create_sku(10)
    results = run_concurrently(*[lambda: reserve_units((sku, 1))] * BUYERS)
    assert count_types(results) == {Reservation: 10, OutOfStock: BUYERS - 10}
    assert stock_of(sku) == (10, 10)


def reserve_without_guard(table, sku, all_have_read):
    """Reserve with a read before the write, instead of a conditional UPDATE."""
    [(available,)] = fetch_rows("inventory", f"SELECT on_hand - reserved FROM {table} WHERE sku = %s", [sku])
    all_have_read.wait()
    return available > 0 and execute("inventory", f"UPDATE {table} SET reserved = reserved + 1 WHERE sku = %s", [sku])


def test_control_reading_before_writing_violates_the_constraint():
    sku, barrier = create_sku(1), threading.Barrier(5)
    results = run_concurrently(*[lambda: reserve_without_guard("inventory_stock", sku, barrier)] * 5)
    assert count_types(results) == {int: 1, IntegrityError: 4}
    execute("inventory", "UPDATE inventory_stock SET reserved = 0 WHERE sku = %s", [sku])


def test_control_reading_before_writing_oversells_where_there_is_no_constraint():
    sku, table, barrier = create_sku(1), f"unguarded_{uuid4().hex}", threading.Barrier(5)
    execute("inventory", f"CREATE TABLE {table} AS SELECT * FROM inventory_stock WHERE sku = %s", [sku])
    results = run_concurrently(*[lambda: reserve_without_guard(table, sku, barrier)] * 5)
    assert results == [1] * 5
    assert fetch_rows("inventory", f"SELECT on_hand, reserved FROM {table}") == [(1, 5)]
    execute("inventory", f"DROP TABLE {table}")


def test_orders_with_the_same_skus_in_opposite_order_do_not_deadlock():
    skus = create_product([1000, 1000, 1000])

    def buy():
        for _ in range(10):
            shuffled = random.sample(skus, 3)
            found = reserve_units(*((sku, 1) for sku in shuffled))
            inventory.release(order_id=found.order_id)

    assert run_concurrently(*[buy] * 16) == [None] * 16
    assert [stock_of(sku) for sku in skus] == [(1000, 0)] * 3


def test_an_order_locks_its_skus_in_their_order():
    """While an order waits for the first one, it has locked no other."""
    for _ in range(5):
        skus = create_product([10] * 8)
        lines = [(sku, 1) for sku in random.sample(skus, len(skus))]
        with ThreadPoolExecutor(1) as pool, joinable_transaction("inventory"):
            lock_first = "SELECT 1 FROM inventory_stock WHERE sku = ANY(%s) ORDER BY sku LIMIT 1 FOR UPDATE"
            fetch_rows("inventory", lock_first, [skus])
            waiting = pool.submit(run_concurrently, partial(reserve_units, *lines))
            await_waiting_transaction()
            lockable = "SELECT sku FROM inventory_stock WHERE sku = ANY(%s) FOR UPDATE SKIP LOCKED"
            [unlocked] = run_concurrently(partial(fetch_rows, "inventory", lockable, [skus]))
        waiting.result()
        assert len(unlocked) == len(skus) - 1


def test_confirmations_of_the_same_orders_and_skus_in_any_order_do_not_deadlock_and_sell_once():
    skus = create_product([1000, 1000, 1000])
    orders = [reserve_units(*((sku, 1) for sku in random.sample(skus, 3))).order_id for _ in range(40)]

    def confirm():
        shuffled = random.sample(orders, len(orders))
        for start in range(0, len(orders), 8):
            reservations.commit_many({order_id: start_trace() for order_id in shuffled[start : start + 8]})

    assert run_concurrently(*[confirm] * 8) == [None] * 8
    assert [stock_of(sku) for sku in skus] == [(960, 0)] * 3


def test_control_locking_in_request_order_deadlocks():
    one, other = create_product([10, 10])
    both_have_one_lock = threading.Barrier(2)

    def lock(first, second):
        with transaction("inventory"):
            execute("inventory", "SELECT FROM inventory_stock WHERE sku = %s FOR UPDATE", [first])
            both_have_one_lock.wait()
            execute("inventory", "SELECT FROM inventory_stock WHERE sku = %s FOR UPDATE", [second])

    results = run_concurrently(lambda: lock(one, other), lambda: lock(other, one))
    [deadlock] = [result for result in results if result is not None]
    assert isinstance(deadlock, OperationalError)
    assert "deadlock" in str(deadlock)


def test_concurrent_repeats_of_a_reserve_reserve_once():
    sku, order_id = create_sku(20), uuid4()
    results = run_concurrently(*[lambda: reserve_units((sku, 1), order_id=order_id)] * 20)
    assert set(results) == {results[0]}
    assert isinstance(results[0], Reservation)
    assert stock_of(sku) == (20, 1)
    assert published_events("reservation", order_id) == [(1, "reservation_held")]


def test_concurrent_repeats_of_a_refusal_get_the_same_result():
    sku, order_id = create_sku(1), uuid4()
    results = run_concurrently(*[lambda: reserve_units((sku, 2), order_id=order_id)] * 20)
    assert [result.facts for result in results] == [{"sku": sku, "available": 1}] * 20
    assert published_events("reservation", order_id) == [(1, "reservation_refused")]


def test_a_release_concurrent_with_its_reserve_leaves_nothing_reserved():
    sku = create_sku(1000)
    for _ in range(20):
        order_id = uuid4()
        reserved, released = run_concurrently(
            partial(reserve_units, (sku, 1), order_id=order_id), partial(inventory.release, order_id=order_id)
        )
        assert isinstance(reserved, Reservation | Closed)
        assert released.status == "released"
        assert stock_of(sku) == (1000, 0)


def test_a_release_concurrent_with_the_commit_restores_the_units():
    for _ in range(20):
        sku, order_id = create_sku(5), uuid4()
        reserve_units((sku, 2), order_id=order_id)
        _, released = run_concurrently(
            partial(reservations.commit, order_id), partial(inventory.release, order_id=order_id)
        )
        assert stock_of(sku) == (5, 0)
        assert movements(sku) == ([("sale", -2), ("restock", 2)] if released.status == "restocked" else [])


def test_concurrent_releases_restore_units_once():
    sku, order_id = create_sku(5), uuid4()
    reserve_units((sku, 3), order_id=order_id)
    results = run_concurrently(*[lambda: inventory.release(order_id=order_id)] * 20)
    assert {result.status for result in results} == {"released"}
    assert stock_of(sku) == (5, 0)


def test_concurrent_buyers_and_a_stock_decrease_never_oversell():
    sku = create_sku(10)

    def remove_units():
        return stock.adjust(sku=sku, quantity=-5, reason="damaged", actor="staff@example.com")

    results = run_concurrently(*[lambda: reserve_units((sku, 1))] * 20, remove_units, remove_units)
    on_hand, held = stock_of(sku)
    assert held == count_types(results)[Reservation]
    assert on_hand == 10 - 5 * count_types(results)[stock.StockLevel]
    assert on_hand == held


PRICE_RANGE_SQL = """SELECT min_price, max_price FROM inventory_product product
            JOIN inventory_variant variant ON variant.product_id = product.id WHERE sku = %s"""


def test_concurrent_price_changes_leave_the_correct_price_range():
    skus = create_product([1, 1, 1, 1])
    run_concurrently(
        *(partial(catalogue_editing.update_variant, sku, actor="staff", price=10 * n) for n, sku in enumerate(skus, 1))
    )
    assert fetch_rows("inventory", PRICE_RANGE_SQL, [skus[0]]) == [(10, 40)]


def test_control_a_price_range_computed_without_the_product_lock_is_outdated():
    skus = create_product([1, 1], price=1000)
    [(product_id,)] = fetch_rows("inventory", "SELECT product_id FROM inventory_variant WHERE sku = %s", [skus[0]])

    def reprice(sku, price):
        with transaction("inventory"):
            execute("inventory", "UPDATE inventory_variant SET price = %s WHERE sku = %s", [price, sku])
            catalogue_editing.update_price_ranges([product_id])

    # It changes no price itself, so that it can wait for nothing but the product.
    run_blocked_by(partial(reprice, skus[0], 10), partial(catalogue_editing.update_price_ranges, [product_id]))
    assert fetch_rows("inventory", PRICE_RANGE_SQL, [skus[0]]) == [(1000, 1100)], "10 is missing"


def test_a_release_that_waited_for_its_reserve_restores_its_units():
    sku, order_id = create_sku(5), uuid4()
    reserve = partial(reservations.reserve, order_id, order_lines((sku, 2)), HOLD_DURATION)
    result = run_blocked_by(reserve, lambda: inventory.release(order_id=order_id))
    assert (result.status, result.lines) == ("released", order_lines((sku, 2)))
    assert stock_of(sku) == (5, 0)


def test_control_a_single_statement_release_misses_lines_it_waited_for():
    sku, order_id = create_sku(5), uuid4()
    single_statement = """INSERT INTO inventory_reservation (order_id, status, sequence) VALUES (%s, 'released', 1)
              ON CONFLICT (order_id) DO UPDATE SET sequence = inventory_reservation.sequence
              RETURNING (SELECT count(*) FROM inventory_reservationline line WHERE line.order_id = %s)"""
    reserve = partial(reservations.reserve, order_id, order_lines((sku, 2)), HOLD_DURATION)
    assert run_blocked_by(reserve, lambda: fetch_rows("inventory", single_statement, [order_id, order_id])) == [(0,)]
    assert inventory.release(order_id=order_id).lines == order_lines((sku, 2))


def test_control_releasing_after_an_unlocked_read_restores_too_many_units():
    sku, order_id, both_have_read = create_sku(9), uuid4(), threading.Barrier(2)
    reserve_units((sku, 3), order_id=order_id)
    reserve_units((sku, 3))

    def release_after_unlocked_read():
        is_held = reservation_status_of(order_id) == "held"
        both_have_read.wait()
        return is_held and execute(
            "inventory", "UPDATE inventory_stock SET reserved = reserved - 3 WHERE sku = %s", [sku]
        )

    run_concurrently(release_after_unlocked_read, release_after_unlocked_read)
    with pytest.raises(AssertionError):
        assert_stock_adds_up()
    execute("inventory", "UPDATE inventory_stock SET reserved = 6 WHERE sku = %s", [sku])
