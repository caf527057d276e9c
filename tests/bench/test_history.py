"""A past of many orders: copies of real ones, in which everything that belongs together still does."""

import pytest

from bench import history, measure
from bench.machine import Failed
from bench.operations import UNITS

ORDERS = 3 * history.PATTERNS
UNBALANCED = """
SELECT count(*) FROM inventory_stock WHERE on_hand <> initial + (
  SELECT coalesce(sum(quantity), 0) FROM inventory_stockmovement movement WHERE movement.sku = inventory_stock.sku)"""


@pytest.fixture(scope="module")
def past(frozen_satsuma):
    """Made once."""
    frozen_satsuma.thaw()
    history.fill(frozen_satsuma, ORDERS)


@pytest.fixture
def old(past, satsuma):
    """Satsuma with a past."""
    return satsuma


def ids(satsuma, context, statement):
    [database] = [name for name in satsuma.databases if name.endswith(context)]
    return {row[0] for row in satsuma.connections[database].execute(statement)}


def test_there_are_as_many_orders_as_asked_for(old):
    assert old.orders() >= ORDERS


def test_each_order_has_its_rows_in_every_database(old):
    orders = ids(old, "orders", "SELECT id FROM orders_order")
    assert len(orders) >= ORDERS
    assert ids(old, "orders", "SELECT order_id FROM orders_orderline") == orders
    assert ids(old, "inventory", "SELECT order_id FROM inventory_reservation WHERE status = 'committed'") == orders
    assert ids(old, "payments", "SELECT order_id FROM payments_payment WHERE status = 'captured'") == orders
    assert ids(old, "notifications", "SELECT order_id FROM notifications_message WHERE status = 'sent'") == orders


def test_every_fact_that_was_delivered_was_handled(old):
    delivered = ids(old, "orders", "SELECT event_id FROM shop_delivery WHERE acknowledged_at IS NOT NULL")
    for subscriber in ("inventory", "notifications"):
        handled = ids(old, subscriber, "SELECT event_id FROM shop_inboxrow WHERE handled_at IS NOT NULL")
        assert len(handled) >= ORDERS and handled <= delivered


def test_the_shops_own_verifier_finds_nothing_wrong(old):
    old.run("manage.py", "verify", "--at-rest")


def test_the_books_balance(old):
    assert old.count(old.databases[1], UNBALANCED) == 0
    assert old.count(old.databases[2], "SELECT sum(amount)::int FROM payments_ledgerentry") == 0


def test_copies_of_sales_alone_would_unbalance_the_stock(old):
    connection = old.connections[old.databases[1]]
    with connection.transaction(force_rollback=True):
        connection.execute("UPDATE inventory_stock SET initial = %s", [UNITS])  # what it was before there were copies
        assert old.count(old.databases[1], UNBALANCED) > 0


def test_the_verifier_would_tell_of_an_order_that_is_no_copy_of_a_real_one(old):
    connection = old.connections[old.databases[2]]
    taken = "UPDATE payments_payment SET captured = captured - %s, authorized = authorized - %s WHERE id = %s"
    [(payment, order)] = connection.execute("SELECT id, order_id FROM payments_payment WHERE status = 'captured' LIMIT 1")
    connection.execute("SET session_replication_role = replica")  # as copies are written: past the triggers
    connection.execute(taken, [1, 1, payment])
    try:
        with pytest.raises(Failed, match=str(order)):
            old.run("manage.py", "verify", "--at-rest")
    finally:
        connection.execute(taken, [-1, -1, payment])
        connection.execute("RESET session_replication_role")


def test_nothing_is_left_to_do_and_the_shop_goes_on_selling(old):
    assert measure.measured(old, "orders", clients=2, seconds=0.5, seed=5)[0].count > 0
