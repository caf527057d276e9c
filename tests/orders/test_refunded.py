"""Refunds by staff while an order has not heard yet that it is paid: what is given back calls no order off."""

import uuid

import pytest

from config import faults
from contexts.payments.service import refunds
from shop.database import rows
from shop.money import Money
from tests.inventory.stock import stocked
from tests.orders.books import payment_of, stock_of
from tests.orders.clockwork import reconcile, run_until_idle
from tests.shopper import InProcess
from tests.threads import eventually

pytestmark = pytest.mark.usefixtures("verified")


@pytest.fixture
def unanswered():
    """The provider gives the money back, and its answer gets lost."""
    faults.arm("provider.sandbox.refund.after:1:raise")
    yield
    faults.disarm()


def captured_unheard(sku: str) -> tuple[InProcess, dict, uuid.UUID]:
    """A buyer, a confirmed order that waits to hear of its capture, and its payment, which is captured."""
    shopper = InProcess()
    order = shopper.order(sku, token="tok_capture_timeout_then_ok").body
    eventually(lambda: payment_of(order["id"]) == "captured", reconcile)
    [(payment_id,)] = rows("payments", "SELECT id FROM payments_payment WHERE order_id = %s", [order["id"]])
    return shopper, order, payment_id


def give_back(payment_id: uuid.UUID, amount: Money | None) -> None:
    refunds.refund(payment_id=payment_id, amount=amount, reason="A scratch", actor="clerk", key=None)


def how_it_ends(sku: str, shopper: InProcess, order: dict) -> tuple[str, list[str], tuple[int, int]]:
    """The order's status, what its timeline tells, and the stock."""
    run_until_idle()
    seen = shopper.look_at(order)
    timeline = shopper.get(f"orders/{order['id']}/timeline", X_Order_Token=order["token"]).body["results"]
    return seen["status"], [entry["kind"] for entry in timeline], stock_of(sku)


BOUGHT = ("confirmed", ["placed", "confirmed", "paid"], (0, 0))


@pytest.mark.parametrize("amount", [Money(500, "EUR"), None], ids=["a part", "all"])
def test_a_refund_before_the_order_hears_of_its_payment(amount):
    sku = stocked(1)
    shopper, order, payment_id = captured_unheard(sku)
    give_back(payment_id, amount)
    assert how_it_ends(sku, shopper, order) == BOUGHT


def test_a_refund_that_runs_while_the_order_hears_of_its_payment(unanswered):
    sku = stocked(1)
    shopper, order, payment_id = captured_unheard(sku)
    give_back(payment_id, Money(500, "EUR"))
    assert payment_of(order["id"]) == "refunding"
    assert how_it_ends(sku, shopper, order) == BOUGHT
    eventually(lambda: payment_of(order["id"]) == "captured", reconcile)
    assert rows("payments", "SELECT refunded FROM payments_payment WHERE id = %s", [payment_id]) == [(500,)]
