"""Events between two steps of a checkout. Each runs inside a call to payments, so that its moment is exact."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings as configured

from contexts.orders.models import Order
from contexts.orders.service import orders
from contexts.payments.service import LocalPayments
from shop.calls import services
from shop.db import leases
from shop.db.database import execute, fetch_rows
from shop.db.leases import LeaseLost
from tests.concurrency import eventually
from tests.engine_driver import capture_payments, run_checkout_timers, run_payment_timers
from tests.factories import create_sku
from tests.orders.queries import count_charges, payment_of, reservation_of, status_and_step_of, stock_of
from tests.shopper import InProcessShopper


class InterruptedPayments(LocalPayments):
    """Payments that runs an action once, before its reply to an authorize or a capture arrives."""

    actions: dict[str, list[Callable[[uuid.UUID], Any]]] = {"authorize": [], "capture": [], "capture_orders": []}

    def authorize(self, **arguments):
        answer = super().authorize(**arguments)
        self.interrupt("authorize", **arguments)
        return answer

    def capture(self, **arguments):
        answer = super().capture(**arguments)
        self.interrupt("capture", **arguments)
        return answer

    def capture_orders(self, *, order_ids):
        answer = super().capture_orders(order_ids=order_ids)
        self.interrupt("capture_orders", order_ids[0])
        return answer

    def interrupt(self, call, /, order_id, **_):
        while self.actions[call]:
            self.actions[call].pop()(order_id)

    def cancel(self, **arguments):
        return super().cancel(**arguments)

    def sync(self, **arguments):
        return super().sync(**arguments)

    def pay_again(self, **arguments):
        return super().pay_again(**arguments)

    def without_number(self, **arguments):
        return super().without_number(**arguments)

    def set_numbers(self, **arguments):
        return super().set_numbers(**arguments)

    def of_orders(self, **arguments):
        return super().of_orders(**arguments)

    def refunds_of_orders(self, **arguments):
        return super().refunds_of_orders(**arguments)


@pytest.fixture
def interrupt():
    """Return a function: `interrupt(action)` runs it on the order before the reply to its next authorize (or capture)."""
    services.configure({"payments": "tests.orders.test_interleavings.InterruptedPayments"}, "local")
    yield lambda action, method="authorize": InterruptedPayments.actions[method].append(action)
    for actions in InterruptedPayments.actions.values():
        actions.clear()
    services.configure(configured.SERVICES, configured.TRANSPORT)


def published_events(order_id: Any) -> list[str]:
    sql = "SELECT name FROM shop_outboxevent WHERE stream = %s ORDER BY sequence"
    return [name.partition(".")[2] for (name,) in fetch_rows("orders", sql, [f"orders.order:{order_id}"])]


def create_waiting_order(shopper: InProcessShopper, sku: str) -> uuid.UUID:
    """Place an order that waits for its customer to approve the payment."""
    return uuid.UUID(shopper.order(sku, token="tok_requires_action").body["id"])


def test_a_worker_paused_while_others_continued_does_not_write_stale_data(shopper, interrupt):
    order = shopper.order(create_sku(1), token="tok_requires_action").body
    order_id = uuid.UUID(order["id"])

    def resume_elsewhere(_: uuid.UUID) -> None:
        shopper.post("/" + order["payment"]["action"]["url"].split("/", 3)[3])
        execute("orders", "UPDATE orders_order SET attempt = attempt + 1, lease_until = NULL WHERE id = %s", [order_id])
        orders.resume(order_id)

    interrupt(resume_elsewhere)
    with pytest.raises(LeaseLost):
        orders.run_checkout(leases.acquire_lease(Order, "orders", order_id))
    assert status_and_step_of(order_id) == ("confirmed", "capturing")
    capture_payments()
    assert status_and_step_of(order_id) == ("confirmed", "done")


def test_a_worker_that_lost_its_lease_returns_the_result_of_its_successor(shopper, interrupt):
    def cancel_elsewhere(order_id: uuid.UUID) -> None:
        orders.record_cancel_request(order_id)
        execute("orders", "UPDATE orders_order SET attempt = attempt + 1, lease_until = NULL WHERE id = %s", [order_id])
        orders.resume(order_id)

    interrupt(cancel_elsewhere)
    sku, key = create_sku(1), uuid.uuid4().hex
    first, again = (shopper.order(sku, key=key) for _ in range(2))
    assert first.status == 409
    assert first.body["code"] == "orders.order_was_cancelled"
    assert again.content == first.content


def test_a_worker_that_captures_alone_and_loses_its_lease_leaves_the_cancelled_order_unchanged(shopper, interrupt):
    def cancel_elsewhere(order_id: uuid.UUID) -> None:
        orders.record_cancel_request(order_id)
        execute("orders", "UPDATE orders_order SET attempt = attempt + 1, lease_until = NULL WHERE id = %s", [order_id])
        orders.resume(order_id)

    order_id = uuid.UUID(shopper.order(create_sku(1)).body["id"])
    interrupt(cancel_elsewhere, "capture")
    assert orders.resume(order_id).status == "cancelled"
    assert (status_and_step_of(order_id), payment_of(order_id)) == (("cancelled", "closed"), "refunded")
    assert published_events(order_id) == ["order_placed", "order_confirmed", "order_cancelled"]


def test_the_response_of_a_confirmed_order_stays_after_its_cancel(shopper):
    sku, key = create_sku(1), uuid.uuid4().hex
    first = shopper.order(sku, key=key)
    assert orders.request_cancel(uuid.UUID(first.body["id"])).status == "cancelled"
    again = shopper.order(sku, key=key)
    assert (again.status, again.content) == (201, first.content)


def test_an_order_cancelled_before_its_response_was_stored_answers_with_the_cancel(shopper):
    """The order is as a worker leaves it that dies after the confirmation: confirmed, and its key without an outcome."""
    sku, key = create_sku(1), uuid.uuid4().hex
    order_id = uuid.UUID(shopper.order(sku, key=key).body["id"])
    execute("orders", "UPDATE shop_idempotencykey SET status = NULL, body = NULL WHERE resource = %s", [order_id])
    orders.request_cancel(order_id)
    first, again = (shopper.order(sku, key=key) for _ in range(2))
    assert (first.status, first.body["code"]) == (409, "orders.order_was_cancelled")
    assert again.content == first.content


def test_a_cancel_before_the_confirmation_wins(shopper, interrupt):
    sku = create_sku(1)
    interrupt(orders.record_cancel_request)
    answer = shopper.order(sku)
    assert (answer.status, answer.body.get("code")) == (409, "orders.order_was_cancelled")
    order_id = answer.body["facts"]["order_id"]
    assert published_events(order_id) == ["order_placed", "order_cancelled"], "no confirmation was published"
    assert (payment_of(order_id), stock_of(sku)) == ("voided", (1, 0))


def test_a_cancel_only_records_the_request_while_a_worker_holds_the_lease(shopper):
    order_id = create_waiting_order(shopper, create_sku(1))
    holder = leases.acquire_lease(Order, "orders", order_id)
    orders.request_cancel(order_id)
    assert status_and_step_of(order_id) == ("pending", "authorizing")
    orders.run_checkout(holder)
    assert holder.status == "cancelled"


def test_a_cancel_voids_a_payment_unknown_to_the_order(shopper):
    """The order is as a worker leaves it that dies before the reply to its authorize arrives."""
    order_id = create_waiting_order(shopper, create_sku(1))
    forget = "UPDATE orders_order SET step = 'reserving', payment_id = NULL, payment_status = '' WHERE id = %s"
    execute("orders", forget, [order_id])
    orders.request_cancel(order_id)
    assert (status_and_step_of(order_id), payment_of(order_id)) == (("cancelled", "closed"), "voided")
    assert count_charges(order_id) == 0


def test_stock_is_kept_until_the_money_is_settled(shopper):
    sku = create_sku(1)
    order_id = create_waiting_order(shopper, sku)
    busy = """UPDATE payments_payment SET status = 'voiding', cancel_wanted = true, due_at = now() + %s::interval
              WHERE order_id = %s"""
    execute("payments", busy, ["1 hour", order_id])  # its provider does not answer
    orders.request_cancel(order_id)
    assert (status_and_step_of(order_id), reservation_of(order_id)) == (("cancelled", "undo_money"), "held")
    execute("payments", busy, ["0", order_id])
    eventually(lambda: status_and_step_of(order_id) == ("cancelled", "closed"), run_payment_timers, run_checkout_timers)
    assert (payment_of(order_id), stock_of(sku)) == ("voided", (1, 0))
