"""Past orders are copies of real ones whose rows in all databases still belong together."""

import pytest

from bench import measure, order_history
from bench.operations import UNITS
from bench.processes import Failed

ORDERS = 3 * order_history.PATTERN_ORDERS
UNBALANCED = """
SELECT count(*) FROM inventory_stock WHERE on_hand <> initial + (
  SELECT coalesce(sum(quantity), 0) FROM inventory_stockmovement movement WHERE movement.sku = inventory_stock.sku)"""


@pytest.fixture(scope="module")
def past(frozen_satsuma):
    """Create the past orders, once."""
    frozen_satsuma.thaw()
    order_history.create_past_orders(frozen_satsuma, ORDERS)


@pytest.fixture
def old(past, satsuma):
    """Return Satsuma with past orders."""
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


def test_every_delivered_event_was_handled(old):
    delivered = ids(old, "orders", "SELECT event_id FROM shop_delivery WHERE acknowledged_at IS NOT NULL")
    for subscriber in ("inventory", "notifications"):
        handled = ids(old, subscriber, "SELECT event_id FROM shop_inboxrow WHERE handled_at IS NOT NULL")
        assert len(handled) >= ORDERS and handled <= delivered


def test_the_shops_own_verifier_finds_nothing_wrong(old):
    old.run("manage.py", "verify", "--at-rest")


def test_the_databases_are_consistent(old):
    assert old.count(old.name_database("inventory"), UNBALANCED) == 0
    assert old.count(old.name_database("payments"), "SELECT sum(amount)::int FROM payments_ledgerentry") == 0


def test_copies_of_sales_alone_would_unbalance_the_stock(old):
    connection = old.connections[old.name_database("inventory")]
    with connection.transaction(force_rollback=True):
        connection.execute("UPDATE inventory_stock SET initial = %s", [UNITS])  # the value before the copies
        assert old.count(old.name_database("inventory"), UNBALANCED) > 0


def test_the_verifier_detects_an_order_that_is_not_a_copy_of_a_real_one(old):
    connection = old.connections[old.name_database("payments")]
    change = "UPDATE payments_payment SET captured = captured - %s, authorized = authorized - %s WHERE id = %s"
    [(payment, order)] = connection.execute(
        "SELECT id, order_id FROM payments_payment WHERE status = 'captured' LIMIT 1"
    )
    connection.execute("SET session_replication_role = replica")  # without triggers, as copies are written
    connection.execute(change, [1, 1, payment])
    try:
        with pytest.raises(Failed, match=str(order)):
            old.run("manage.py", "verify", "--at-rest")
    finally:
        connection.execute(change, [-1, -1, payment])
        connection.execute("RESET session_replication_role")


def test_no_work_is_pending_and_the_shop_takes_new_orders(old):
    assert measure.measured(old, "orders", clients=2, seconds=0.5, seed=5)[0].count > 0
