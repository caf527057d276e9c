"""CANCEL_WINDOW: how long a customer can cancel a confirmed order; staff can later."""

import pytest

from shop.db.database import execute
from tests.admin_forms import confirm, run_action
from tests.concurrency import eventually
from tests.engine_driver import run_until_idle
from tests.factories import create_sku
from tests.orders.queries import payment_of, status_and_step_of, stock_of
from tests.shopper import InProcessShopper
from tests.staff_accounts import sign_in_to_admin

pytestmark = pytest.mark.usefixtures("verified")


def cancel(shopper: InProcessShopper, order: dict):
    return shopper.post(f"orders/{order['id']}/cancel", X_Order_Token=order["token"])


def age(order: dict, seconds: int) -> None:
    """Make an order older."""
    sql = "UPDATE orders_order SET created_at = created_at - %s * interval '1 second' WHERE id = %s"
    execute("orders", sql, [seconds, order["id"]])


def test_a_customer_cancels_a_confirmed_order_within_the_window_only(shopper, settings):
    settings.CANCEL_WINDOW = 60
    sku = create_sku(2)
    early, late = shopper.order(sku).body, shopper.order(sku).body
    assert shopper.get_order(early)["cancellable"] and shopper.get_order(late)["cancellable"]
    age(early, 50)
    age(late, 61)
    assert [shopper.get_order(order)["cancellable"] for order in (early, late)] == [True, False]
    assert (cancel(shopper, early).status, cancel(shopper, early).status) == (200, 200)
    refused = cancel(shopper, late)
    assert (refused.status, refused.body.get("code")) == (409, "orders.not_cancellable")
    assert refused.body["facts"]["present"] == "confirmed"
    run_until_idle()
    assert (status_and_step_of(late["id"]), payment_of(late["id"])) == (("confirmed", "done"), "captured")
    assert shopper.get_order(early)["cancellable"] is False
    assert stock_of(sku) == (1, 0)


def test_the_window_is_an_hour_by_default(shopper):
    order = shopper.order(create_sku(1)).body
    age(order, 3599 - 30)
    assert shopper.get_order(order)["cancellable"] is True
    age(order, 31)
    assert shopper.get_order(order)["cancellable"] is False
    assert cancel(shopper, order).status == 409


def test_a_window_of_zero_lets_only_staff_cancel_a_confirmed_order(shopper, settings):
    settings.CANCEL_WINDOW = 0
    order = shopper.order(create_sku(1)).body
    assert order["cancellable"] is False
    assert cancel(shopper, order).status == 409


@pytest.mark.parametrize("token", ["tok_requires_action", "tok_capture_refused"])
def test_an_order_that_is_not_paid_stays_cancellable(shopper, settings, token):
    settings.CANCEL_WINDOW = 0
    order = shopper.buy(create_sku(1), token=token)
    assert order["status"] in ("pending", "on_hold")
    age(order, 10)
    assert shopper.get_order(order)["cancellable"] is True
    assert (cancel(shopper, order).status, shopper.get_order(order)["status"]) == (200, "cancelled")


def test_a_cancel_that_was_requested_in_time_is_answered_later_too(shopper, settings):
    order = shopper.order(create_sku(1)).body
    assert cancel(shopper, order).status == 200
    settings.CANCEL_WINDOW = 0
    assert cancel(shopper, order).status == 200


def test_staff_cancel_after_the_window(shopper, settings):
    settings.CANCEL_WINDOW = 0
    order = shopper.buy(create_sku(1))
    assert cancel(shopper, order).status == 409
    staff = sign_in_to_admin("orders.change", "payments.refund")
    confirm(staff, run_action(staff, "/admin/orders/order/", "request_cancel", order["id"]))
    eventually(lambda: status_and_step_of(order["id"]) == ("cancelled", "closed"), run_until_idle)
    assert payment_of(order["id"]) == "refunded"
