"""Refunds by staff before the order has received the capture event: a refund cancels no order."""

import uuid

import pytest

from contexts.payments.service import refunds
from shop.chaos import faults
from shop.db.database import fetch_rows
from shop.money import Money
from tests.concurrency import eventually
from tests.engine_driver import run_payment_timers, run_until_idle
from tests.factories import create_sku
from tests.orders.queries import payment_of, stock_of
from tests.shopper import InProcessShopper

pytestmark = pytest.mark.usefixtures("verified")


@pytest.fixture
def lost_refund_response():
    """Let the provider refund the money, and lose its reply."""
    faults.arm("provider.sandbox.refund.after:1:raise")
    yield
    faults.disarm()


def create_order_before_capture_event(sku: str) -> tuple[InProcessShopper, dict, uuid.UUID]:
    """Return a shopper, a confirmed order that waits for its capture event, and its captured payment."""
    shopper = InProcessShopper()
    order = shopper.buy(sku, token="tok_capture_timeout_then_ok")
    eventually(lambda: payment_of(order["id"]) == "captured", run_payment_timers)
    [(payment_id,)] = fetch_rows("payments", "SELECT id FROM payments_payment WHERE order_id = %s", [order["id"]])
    return shopper, order, payment_id


def refund(payment_id: uuid.UUID, amount: Money | None) -> None:
    refunds.refund(payment_id=payment_id, amount=amount, reason="A scratch", actor="clerk", key=None)


def final_state(sku: str, shopper: InProcessShopper, order: dict) -> tuple[str, list[str], tuple[int, int]]:
    """Return the order's status, the kinds of its timeline entries, and the stock."""
    run_until_idle()
    current = shopper.get_order(order)
    timeline = shopper.get(f"orders/{order['id']}/timeline", X_Order_Token=order["token"]).body["results"]
    return current["status"], [entry["kind"] for entry in timeline], stock_of(sku)


CONFIRMED_STATE = ("confirmed", ["placed", "confirmed", "paid"], (0, 0))
REFUNDED_STATE = ("confirmed", ["confirmed", "paid", "placed", "refunded"], (0, 0))  # in any order


@pytest.mark.parametrize("amount", [Money(500, "EUR"), None], ids=["a part", "all"])
def test_a_refund_before_the_capture_event_keeps_the_order_confirmed(amount):
    sku = create_sku(1)
    shopper, order, payment_id = create_order_before_capture_event(sku)
    refund(payment_id, amount)
    status, kinds, stock = final_state(sku, shopper, order)
    assert (status, sorted(kinds), stock) == REFUNDED_STATE


def test_a_refund_during_the_capture_event_keeps_the_order_confirmed(lost_refund_response):
    sku = create_sku(1)
    shopper, order, payment_id = create_order_before_capture_event(sku)
    refund(payment_id, Money(500, "EUR"))
    assert payment_of(order["id"]) == "refunding"
    assert final_state(sku, shopper, order) == CONFIRMED_STATE
    eventually(lambda: payment_of(order["id"]) == "captured", run_payment_timers)
    assert fetch_rows("payments", "SELECT refunded FROM payments_payment WHERE id = %s", [payment_id]) == [(500,)]
