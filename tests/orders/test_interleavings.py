"""What comes between two steps of a checkout. The moment is made, not waited for: it is while payments answers."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings as configured

from contexts.orders import saga
from contexts.orders.models import Order
from contexts.orders.service import checkout
from contexts.payments.service import LocalPayments
from shop import leases, services
from shop.database import changed, rows
from shop.leases import Fenced
from tests.inventory.stock import stocked
from tests.orders.books import charges, orders_of_id, payment_of, reservation_of, stock_of
from tests.orders.clockwork import reconcile, sweep
from tests.shopper import InProcess
from tests.threads import eventually


class Interrupted(LocalPayments):
    """Payments, with something that happens once before the answer to an authorize or to a capture arrives."""

    moments: dict[str, list[Callable[[uuid.UUID], Any]]] = {"authorize": [], "capture": []}

    def authorize(self, **arguments):
        answer = super().authorize(**arguments)
        self.meanwhile("authorize", **arguments)
        return answer

    def capture(self, **arguments):
        answer = super().capture(**arguments)
        self.meanwhile("capture", **arguments)
        return answer

    def meanwhile(self, call, /, order_id, **_):
        while self.moments[call]:
            self.moments[call].pop()(order_id)

    def cancel(self, **arguments):
        return super().cancel(**arguments)

    def of_orders(self, **arguments):
        return super().of_orders(**arguments)


@pytest.fixture
def shopper():
    return InProcess()


@pytest.fixture
def meanwhile():
    """`meanwhile(action)`: what happens to the order while the answer to its next authorize (capture) is on its way."""
    services.configure({"payments": "tests.orders.test_interleavings.Interrupted"}, "local")
    yield lambda action, method="authorize": Interrupted.moments[method].append(action)
    for moments in Interrupted.moments.values():
        moments.clear()
    services.configure(configured.SERVICES, configured.TRANSPORT)


def announced(order_id: Any) -> list[str]:
    sql = "SELECT name FROM shop_outboxevent WHERE stream = %s ORDER BY sequence"
    return [name.partition(".")[2] for (name,) in rows("orders", sql, [f"orders.order:{order_id}"])]


def waiting(shopper: InProcess, sku: str) -> uuid.UUID:
    """An order that waits for its customer to approve the payment."""
    return uuid.UUID(shopper.order(sku, token="tok_requires_action").body["id"])


def test_a_worker_that_was_paused_while_others_went_on_does_not_write_what_it_saw(shopper, meanwhile):
    order = shopper.order(stocked(1), token="tok_requires_action").body
    order_id = uuid.UUID(order["id"])

    def others_go_on(_: uuid.UUID) -> None:
        shopper.post("/" + order["payment"]["action"]["url"].split("/", 3)[3])
        changed("orders", "UPDATE orders_order SET attempt = attempt + 1, lease_until = NULL WHERE id = %s", [order_id])
        checkout.resume(order_id)

    meanwhile(others_go_on)
    with pytest.raises(Fenced):
        saga.carry_on(leases.take(Order, "orders", order_id))
    assert orders_of_id(order_id) == ("confirmed", "done")


def test_who_is_overtaken_while_it_writes_its_answer_down_gives_that_of_the_overtaker(shopper, meanwhile):
    def others_cancel(order_id: uuid.UUID) -> None:
        checkout.ask_to_cancel(order_id)
        changed("orders", "UPDATE orders_order SET attempt = attempt + 1, lease_until = NULL WHERE id = %s", [order_id])
        checkout.resume(order_id)

    meanwhile(others_cancel, "capture")
    sku, key = stocked(1), uuid.uuid4().hex
    first, again = (shopper.order(sku, key=key) for _ in range(2))
    assert first.status == 409
    assert first.body["code"] == "orders.order_was_cancelled"
    assert again.content == first.content


def test_a_cancel_that_comes_before_the_confirmation_wins(shopper, meanwhile):
    sku = stocked(1)
    meanwhile(checkout.ask_to_cancel)
    answer = shopper.order(sku)
    assert (answer.status, answer.body["code"]) == (409, "orders.order_was_cancelled")
    order_id = answer.body["facts"]["order_id"]
    assert announced(order_id) == ["order_placed", "order_cancelled"], "nobody was told that it is confirmed"
    assert (payment_of(order_id), stock_of(sku)) == ("voided", (1, 0))


def test_a_cancel_only_asks_while_somebody_carries_the_order_on(shopper):
    order_id = waiting(shopper, stocked(1))
    holder = leases.take(Order, "orders", order_id)
    checkout.request_cancel(order_id)
    assert orders_of_id(order_id) == ("pending", "authorizing")
    assert saga.carry_on(holder).status == "cancelled"


def test_a_cancel_undoes_a_payment_that_the_order_does_not_know_of(shopper):
    """As a worker leaves it that dies before the answer to its authorize arrives."""
    order_id = waiting(shopper, stocked(1))
    forget = "UPDATE orders_order SET step = 'reserving', payment_id = NULL, payment_status = '' WHERE id = %s"
    changed("orders", forget, [order_id])
    checkout.request_cancel(order_id)
    assert (orders_of_id(order_id), payment_of(order_id)) == (("cancelled", "closed"), "voided")
    assert charges(order_id) == 0


def test_stock_is_kept_until_the_money_is_settled(shopper):
    sku = stocked(1)
    order_id = waiting(shopper, sku)
    busy = """UPDATE payments_payment SET status = 'voiding', cancel_wanted = true, due_at = now() + %s::interval
              WHERE order_id = %s"""
    changed("payments", busy, ["1 hour", order_id])  # its provider does not answer
    checkout.request_cancel(order_id)
    assert (orders_of_id(order_id), reservation_of(order_id)) == (("cancelled", "undo_money"), "held")
    changed("payments", busy, ["0", order_id])
    eventually(lambda: orders_of_id(order_id) == ("cancelled", "closed"), reconcile, sweep)
    assert (payment_of(order_id), stock_of(sku)) == ("voided", (1, 0))
