"""The checkout, from the API to the tables of every context."""

import uuid
from datetime import timedelta

import pytest

from contexts.inventory.interface import Line, inventory
from contexts.orders.interface import orders
from contexts.orders.service.views import make_guest_token
from contexts.payments.interface import PaymentMethod, payments
from shop import chaos
from shop.errors import Closed
from shop.money import Money
from tests.concurrency import eventually, run_in_thread
from tests.engine_driver import capture_payments, run_checkout_timers, run_payment_timers, run_until_idle
from tests.factories import create_sku
from tests.orders.queries import assert_stock_adds_up, count_charges, payment_of, reservation_of, stock_of
from tests.shop.db.unwritten_log import count_bytes_not_on_disk, stopped_wal_writer

pytestmark = pytest.mark.usefixtures("verified")


def test_a_paid_order_is_confirmed_and_its_stock_is_sold(shopper):
    sku = create_sku(5)
    answer = shopper.order(sku)
    assert answer.status == 201
    order = answer.body
    assert (order["status"], order["payment"]["status"]) == ("confirmed", "authorized")
    assert order["totals"]["total"] == order["lines"][0]["total"]
    run_until_idle()
    assert shopper.get_order(order)["payment"]["status"] == "captured"
    assert stock_of(sku) == (4, 0)
    assert reservation_of(order["id"]) == "committed"
    assert count_charges(order["id"]) == 1


def test_calls_to_the_provider_and_the_response_follow_commits_on_the_disk(shopper, in_one_process):
    not_on_disk = {}

    def measure(point):
        if point in ("provider.sandbox.confirm.before", "provider.sandbox.capture.before"):
            not_on_disk[point] = run_in_thread(count_bytes_not_on_disk)

    with stopped_wal_writer():
        chaos.on_point_reached = measure
        try:
            answer = shopper.order(create_sku(5))
            not_on_disk["response"] = count_bytes_not_on_disk()
            capture_payments()
        finally:
            chaos.on_point_reached = None
    assert (answer.status, set(not_on_disk.values()), len(not_on_disk)) == (201, {0}, 3)


def test_prices_are_frozen_with_the_order(shopper):
    sku = create_sku(5)
    before = inventory.quote(skus=(sku,))[0].price
    order = shopper.order(sku, items=[{"sku": sku, "quantity": 3}]).body
    assert order["lines"][0]["unit_price"] == {"amount": before.amount, "currency": before.currency}
    assert order["lines"][0]["total"]["amount"] == before.amount * 3


def test_two_lines_of_the_same_sku_count_together(shopper):
    sku = create_sku(3)
    two_and_two = [{"sku": sku, "quantity": 2}, {"sku": sku, "quantity": 2}]
    assert shopper.order(items=two_and_two).status == 409
    two_and_one = [{"sku": sku, "quantity": 2}, {"sku": sku, "quantity": 1}]
    assert shopper.order(items=two_and_one).status == 201
    run_until_idle()
    assert stock_of(sku) == (0, 0)


def test_an_order_out_of_stock_is_refused_and_stores_nothing(shopper):
    plenty, none_left = create_sku(5), create_sku(0)
    answer = shopper.order(plenty, none_left)
    assert answer.status == 409
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.body["code"] == "inventory.out_of_stock"
    assert answer.body["facts"] == {"sku": none_left, "available": 0, "order_id": answer.body["facts"]["order_id"]}
    order_id = answer.body["facts"]["order_id"]
    assert stock_of(plenty) == (5, 0)
    assert payment_of(order_id) is None
    assert orders.summaries(order_ids=(uuid.UUID(order_id),))[0].status == "rejected"


def test_a_declined_payment_releases_the_stock(shopper):
    sku = create_sku(1)
    answer = shopper.order(sku, token="tok_declined")
    assert answer.status == 402
    assert answer.body["code"] == "payments.declined"
    assert stock_of(sku) == (1, 0)
    assert shopper.order(sku).status == 201, "the unit can be sold again"


def test_an_unknown_outcome_waits_and_is_never_charged_twice(shopper):
    sku = create_sku(1)
    answer = shopper.order(sku, token="tok_timeout_then_ok")
    assert answer.status == 202
    assert answer.body["status"] == "pending"
    assert stock_of(sku) == (1, 1), "the stock stays held while the outcome is unknown"
    eventually(lambda: shopper.get_order(answer.body)["status"] == "confirmed", run_payment_timers, run_until_idle)
    assert count_charges(answer.body["id"]) == 1
    assert stock_of(sku) == (0, 0)


def test_an_order_waits_for_the_customer_to_approve_the_payment(shopper):
    sku = create_sku(1)
    order = shopper.order(sku, token="tok_requires_action").body
    assert order["status"] == "pending"
    approve = order["payment"]["action"]["url"]
    assert shopper.post("/" + approve.split("/", 3)[3]).status < 300
    run_until_idle()
    assert shopper.get_order(order)["status"] == "confirmed"


def test_a_provider_that_never_responds_ends_with_no_charge(shopper, settings):
    settings.RESERVATION_HOLD_SECONDS = 0.3
    sku = create_sku(1)
    order = shopper.order(sku, token="tok_error").body
    assert order["status"] == "pending"
    eventually(lambda: stock_of(sku) == (1, 0), run_payment_timers, run_checkout_timers, run_until_idle)
    assert shopper.get_order(order)["status"] == "rejected"
    assert count_charges(order["id"]) == 0


def test_an_unpaid_order_expires_money_first_stock_second(shopper, settings):
    settings.RESERVATION_HOLD_SECONDS = 0.2
    sku = create_sku(1)
    order = shopper.order(sku, token="tok_requires_action").body
    eventually(lambda: stock_of(sku) == (1, 0), run_checkout_timers, run_until_idle)
    assert shopper.get_order(order)["status"] == "rejected"
    assert payment_of(order["id"]) == "voided"
    timeline = shopper.get(f"orders/{order['id']}/timeline", X_Order_Token=order["token"]).body["results"]
    assert [entry["kind"] for entry in timeline] == ["placed", "rejected"]


def test_a_capture_that_is_refused_puts_the_order_on_hold(shopper):
    sku = create_sku(1)
    answer = shopper.order(sku, token="tok_capture_refused")
    assert (answer.status, answer.body["status"]) == (201, "confirmed")
    run_until_idle()
    run_checkout_timers()
    assert shopper.get_order(answer.body)["status"] == "on_hold"
    assert stock_of(sku) == (0, 0), "the stock stays the customer's"


def test_an_order_on_hold_is_eventually_cancelled(shopper, settings):
    settings.ON_HOLD_SECONDS = 0.2
    sku = create_sku(1)
    order = shopper.buy(sku, token="tok_capture_refused")
    eventually(lambda: stock_of(sku) == (1, 0), run_checkout_timers, run_until_idle)
    assert shopper.get_order(order)["status"] == "cancelled"
    assert payment_of(order["id"]) == "voided"


def test_a_confirmed_order_can_be_cancelled_and_is_refunded(shopper):
    sku = create_sku(1)
    order = shopper.order(sku).body
    run_until_idle()
    answer = shopper.post(f"orders/{order['id']}/cancel", X_Order_Token=order["token"])
    assert (answer.status, answer.body["status"]) == (200, "cancelled")
    run_until_idle()
    assert payment_of(order["id"]) == "refunded"
    assert stock_of(sku) == (1, 0)
    assert shopper.post(f"orders/{order['id']}/cancel", X_Order_Token=order["token"]).status == 200
    assert_stock_adds_up(sku)


def test_a_waiting_order_can_be_cancelled_and_its_payment_is_closed(shopper):
    sku = create_sku(1)
    order = shopper.order(sku, token="tok_requires_action").body
    answer = shopper.post(f"orders/{order['id']}/cancel", X_Order_Token=order["token"])
    assert (answer.status, answer.body["status"]) == (200, "cancelled")
    assert payment_of(order["id"]) == "voided"
    approve = order["payment"]["action"]["url"]
    shopper.post("/" + approve.split("/", 3)[3])
    eventually(lambda: True, run_payment_timers, run_until_idle)
    assert shopper.get_order(order)["status"] == "cancelled", "a final order stays final"
    assert count_charges(order["id"]) == 0


def test_a_rejected_order_cannot_be_cancelled(shopper):
    order_id = shopper.order(create_sku(0)).body["facts"]["order_id"]
    token = make_guest_token(uuid.UUID(order_id))
    answer = shopper.post(f"orders/{order_id}/cancel", X_Order_Token=token)
    assert (answer.status, answer.body["code"]) == (409, "orders.not_cancellable")


def test_a_late_step_after_its_compensation_is_closed(shopper):
    sku = create_sku(1)
    order = shopper.order(sku, token="tok_requires_action").body
    shopper.post(f"orders/{order['id']}/cancel", X_Order_Token=order["token"])
    order_id = uuid.UUID(order["id"])
    with pytest.raises(Closed):
        inventory.reserve(order_id=order_id, lines=(Line(sku=sku, quantity=1),), hold=timedelta(minutes=1))
    with pytest.raises(Closed):
        method = PaymentMethod(provider="sandbox", token="tok_ok")
        payments.authorize(order_id=order_id, amount=Money(100, "EUR"), method=method)
    assert stock_of(sku) == (1, 0)
