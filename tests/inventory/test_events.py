"""What inventory does when an order is confirmed, and when a hold is over."""

from datetime import timedelta
from uuid import uuid4

from contexts.inventory.handlers import announce_due_reservations
from contexts.inventory.interface import inventory
from contexts.orders.events import OrderConfirmed
from shop.database import changed, rows, transaction
from shop.money import Money
from shop.outbox import publish
from tests.inventory.books import assert_stock_adds_up, facts, movements, status_of, stock_of
from tests.inventory.stock import reserved, stocked
from tests.orders.clockwork import run_until_idle
from tests.threads import at_once

OVER = timedelta(seconds=-1)


def confirm(order_id, sequence=1):
    with transaction("orders"):
        confirmed = OrderConfirmed(order_id=order_id, number="TEST", user_id=None, total=Money(1999, "EUR"))
        publish(confirmed, sequence=sequence)
    run_until_idle()


def inbox(order_id):
    return rows(
        "inventory",
        """SELECT handled_at IS NOT NULL, failures FROM shop_inboxrow
           WHERE stream = %s AND handler = 'inventory.commit_reservation' ORDER BY sequence""",
        [f"orders.order:{order_id}"],
    )


def due_facts(order_id):
    return [name for _, name in facts("reservation", order_id)].count("reservation_due")


def run_timer_until_nothing_is_due():
    while rows("inventory", "SELECT 1 FROM inventory_reservation WHERE status = 'held' AND announce_at <= now() LIMIT 1"):
        announce_due_reservations()


def test_a_confirmed_order_sells_what_was_held_for_it():
    sku, order_id = stocked(3), uuid4()
    reserved((sku, 2), order_id=order_id)
    confirm(order_id)
    assert status_of(order_id) == "committed"
    assert stock_of(sku) == (1, 0)
    assert inbox(order_id) == [(True, 0)]


def test_a_confirmation_delivered_twice_sells_once():
    sku, order_id = stocked(3), uuid4()
    reserved((sku, 2), order_id=order_id)
    confirm(order_id)
    changed(
        "orders",
        """UPDATE shop_delivery SET acknowledged_at = NULL, due_at = now() FROM shop_outboxevent event
           WHERE event.id = event_id AND event.stream = %s""",
        [f"orders.order:{order_id}"],
    )
    run_until_idle()
    assert movements(sku) == [("sale", -2)]
    assert inbox(order_id) == [(True, 0)]


def test_a_second_confirmation_of_the_same_order_changes_nothing():
    sku, order_id = stocked(3), uuid4()
    reserved((sku, 2), order_id=order_id)
    confirm(order_id)
    confirm(order_id, sequence=2)
    assert movements(sku) == [("sale", -2)]
    assert inbox(order_id) == [(True, 0), (True, 0)]


def test_the_confirmation_of_a_released_order_is_ignored():
    sku, order_id = stocked(3), uuid4()
    reserved((sku, 2), order_id=order_id)
    inventory.release(order_id=order_id)
    confirm(order_id)
    assert status_of(order_id) == "released"
    assert stock_of(sku) == (3, 0)
    assert inbox(order_id) == [(True, 0)]


def test_the_confirmation_of_an_order_without_a_reservation_stays_visible():
    order_id = uuid4()
    confirm(order_id)
    [(handled, failures)] = inbox(order_id)
    assert not handled
    assert failures > 0
    assert status_of(order_id) is None
    inventory.release(order_id=order_id)  # so that it does not go on failing beside other tests


def test_a_reservation_is_announced_as_due_once_and_stays_held():
    sku, order_id = stocked(3), uuid4()
    reserved((sku, 2), order_id=order_id, hold=OVER)
    run_timer_until_nothing_is_due()
    announce_due_reservations()
    assert facts("reservation", order_id) == [(1, "reservation_held"), (2, "reservation_due")]
    assert (status_of(order_id), stock_of(sku)) == ("held", (3, 2))
    inventory.release(order_id=order_id)


def test_a_reservation_within_its_hold_is_not_announced():
    order_id = uuid4()
    reserved((stocked(3), 2), order_id=order_id)
    run_timer_until_nothing_is_due()
    assert due_facts(order_id) == 0


def test_a_due_reservation_still_held_a_minute_later_is_announced_again():
    order_id = uuid4()
    reserved((stocked(3), 2), order_id=order_id, hold=OVER)
    run_timer_until_nothing_is_due()
    a_minute_passes = "UPDATE inventory_reservation SET announce_at = announce_at - interval '60 s' WHERE order_id = %s"
    changed("inventory", a_minute_passes, [order_id])
    run_timer_until_nothing_is_due()
    assert due_facts(order_id) == 2
    inventory.release(order_id=order_id)


def test_what_was_committed_or_released_is_not_announced_as_due():
    sku, sold, undone = stocked(3), uuid4(), uuid4()
    reserved((sku, 1), order_id=sold, hold=OVER)
    reserved((sku, 1), order_id=undone, hold=OVER)
    inventory.release(order_id=undone)
    confirm(sold)
    run_timer_until_nothing_is_due()
    assert (due_facts(sold), due_facts(undone)) == (0, 0)


def test_timers_in_many_processes_announce_each_due_reservation_once():
    sku = stocked(30)
    orders = [reserved((sku, 1), hold=OVER).order_id for _ in range(30)]
    at_once(*[announce_due_reservations] * 8)
    run_timer_until_nothing_is_due()
    assert [due_facts(order_id) for order_id in orders] == [1] * 30
    for order_id in orders:
        inventory.release(order_id=order_id)


def test_control_timers_that_only_look_announce_the_same_reservation_many_times():
    order_id = reserved((stocked(1), 1), hold=OVER).order_id
    look = "SELECT order_id FROM inventory_reservation WHERE status = 'held' AND announce_at <= now() AND order_id = %s"
    assert at_once(*[lambda: rows("inventory", look, [order_id])] * 8) == [[(order_id,)]] * 8
    inventory.release(order_id=order_id)


def test_stock_adds_up_after_all_of_it():
    assert_stock_adds_up()
