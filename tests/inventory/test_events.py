"""Event handlers and timers of inventory: confirmed orders, expired holds."""

from datetime import timedelta
from uuid import uuid4

from contexts.inventory.handlers import announce_due_reservations
from contexts.inventory.interface import inventory
from contexts.orders.events import OrderConfirmed
from shop.db.database import execute, fetch_rows, transaction
from shop.messaging.outbox import Revision, publish
from shop.money import Money
from tests.concurrency import run_concurrently
from tests.engine_driver import run_until_idle
from tests.factories import create_sku, reserve_units
from tests.inventory.queries import assert_stock_adds_up, movements, published_events, reservation_status_of, stock_of

EXPIRED = timedelta(seconds=-1)


def confirm(order_id, sequence=1):
    with transaction("orders"):
        confirmed = OrderConfirmed(order_id=order_id, number="TEST", user_id=None, total=Money(1999, "EUR"))
        publish(confirmed, row=Revision(sequence))
    run_until_idle()


def list_inbox_rows(order_id):
    return fetch_rows(
        "inventory",
        """SELECT handled_at IS NOT NULL, failures FROM shop_inboxrow
           WHERE stream = %s AND handler = 'inventory.commit_reservation' ORDER BY sequence""",
        [f"orders.order:{order_id}"],
    )


def count_due_events(order_id):
    return [name for _, name in published_events("reservation", order_id)].count("reservation_due")


def run_timer_until_nothing_is_due():
    while fetch_rows(
        "inventory", "SELECT 1 FROM inventory_reservation WHERE status = 'held' AND announce_at <= now() LIMIT 1"
    ):
        announce_due_reservations()


def test_a_confirmed_order_commits_its_reserved_units():
    sku, order_id = create_sku(3), uuid4()
    reserve_units((sku, 2), order_id=order_id)
    confirm(order_id)
    assert reservation_status_of(order_id) == "committed"
    assert stock_of(sku) == (1, 0)
    assert list_inbox_rows(order_id) == [(True, 0)]


def test_a_confirmation_delivered_twice_sells_once():
    sku, order_id = create_sku(3), uuid4()
    reserve_units((sku, 2), order_id=order_id)
    confirm(order_id)
    execute(
        "orders",
        """UPDATE shop_delivery SET acknowledged_at = NULL, due_at = now() FROM shop_outboxevent event
           WHERE event.id = event_id AND event.stream = %s""",
        [f"orders.order:{order_id}"],
    )
    run_until_idle()
    assert movements(sku) == [("sale", -2)]
    assert list_inbox_rows(order_id) == [(True, 0)]


def test_a_second_confirmation_of_the_same_order_changes_nothing():
    sku, order_id = create_sku(3), uuid4()
    reserve_units((sku, 2), order_id=order_id)
    confirm(order_id)
    confirm(order_id, sequence=2)
    assert movements(sku) == [("sale", -2)]
    assert list_inbox_rows(order_id) == [(True, 0), (True, 0)]


def test_the_confirmation_of_a_released_order_is_ignored():
    sku, order_id = create_sku(3), uuid4()
    reserve_units((sku, 2), order_id=order_id)
    inventory.release(order_id=order_id)
    confirm(order_id)
    assert reservation_status_of(order_id) == "released"
    assert stock_of(sku) == (3, 0)
    assert list_inbox_rows(order_id) == [(True, 0)]


def test_the_confirmation_of_an_order_without_a_reservation_fails_and_is_retried():
    order_id = uuid4()
    confirm(order_id)
    [(handled, failures)] = list_inbox_rows(order_id)
    assert not handled
    assert failures > 0
    assert reservation_status_of(order_id) is None
    inventory.release(order_id=order_id)  # ends the retries


def test_a_due_reservation_is_published_once_and_stays_held():
    sku, order_id = create_sku(3), uuid4()
    reserve_units((sku, 2), order_id=order_id, hold=EXPIRED)
    run_timer_until_nothing_is_due()
    announce_due_reservations()
    assert published_events("reservation", order_id) == [(1, "reservation_held"), (2, "reservation_due")]
    assert (reservation_status_of(order_id), stock_of(sku)) == ("held", (3, 2))
    inventory.release(order_id=order_id)


def test_a_reservation_within_its_hold_is_not_published_as_due():
    order_id = uuid4()
    reserve_units((create_sku(3), 2), order_id=order_id)
    run_timer_until_nothing_is_due()
    assert count_due_events(order_id) == 0


def test_a_due_reservation_still_held_a_minute_later_is_published_again():
    order_id = uuid4()
    reserve_units((create_sku(3), 2), order_id=order_id, hold=EXPIRED)
    run_timer_until_nothing_is_due()
    backdate = "UPDATE inventory_reservation SET announce_at = announce_at - interval '60 s' WHERE order_id = %s"
    execute("inventory", backdate, [order_id])
    run_timer_until_nothing_is_due()
    assert count_due_events(order_id) == 2
    inventory.release(order_id=order_id)


def test_committed_and_released_reservations_are_not_published_as_due():
    sku, committed, released = create_sku(3), uuid4(), uuid4()
    reserve_units((sku, 1), order_id=committed, hold=EXPIRED)
    reserve_units((sku, 1), order_id=released, hold=EXPIRED)
    inventory.release(order_id=released)
    confirm(committed)
    run_timer_until_nothing_is_due()
    assert (count_due_events(committed), count_due_events(released)) == (0, 0)


def test_concurrent_timers_publish_each_due_reservation_once():
    sku = create_sku(30)
    orders = [reserve_units((sku, 1), hold=EXPIRED).order_id for _ in range(30)]
    run_concurrently(*[announce_due_reservations] * 8)
    run_timer_until_nothing_is_due()
    assert [count_due_events(order_id) for order_id in orders] == [1] * 30
    for order_id in orders:
        inventory.release(order_id=order_id)


def test_control_timers_without_a_claim_find_the_same_reservation():
    order_id = reserve_units((create_sku(1), 1), hold=EXPIRED).order_id
    find_due = (
        "SELECT order_id FROM inventory_reservation WHERE status = 'held' AND announce_at <= now() AND order_id = %s"
    )
    assert run_concurrently(*[lambda: fetch_rows("inventory", find_due, [order_id])] * 8) == [[(order_id,)]] * 8
    inventory.release(order_id=order_id)


def test_stock_is_consistent_after_all_tests():
    assert_stock_adds_up()
