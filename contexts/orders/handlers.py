"""Handlers of orders. An event brings no data to the checkout: its steps read the present state again."""

from datetime import timedelta

from contexts.inventory.events import ReservationDue
from contexts.inventory.interface import inventory
from contexts.orders.service import capturing, order_payments, orders, payment_numbers
from contexts.payments.events import (
    PaymentDisputed,
    PaymentNeedsAttention,
    PaymentRefunded,
    PaymentRefundFailed,
    PaymentResolved,
    PaymentTaskClosed,
)
from shop.messaging.events import every, on


@on(PaymentResolved, atomic=False, ordered=False)
def resume_checkout(event: PaymentResolved) -> None:
    """Resume the checkout of an order whose payment was resolved. Ignore payments of unknown orders."""
    try:
        orders.resume(event.order_id)
    except orders.OrderNotFound:
        return


@on(PaymentRefunded, atomic=False, ordered=False)
def record_refund(event: PaymentRefunded) -> None:
    """Record a refund with the order, whether staff, a cancellation or the provider made it."""
    order_payments.refresh(event.order_id)


@on(PaymentRefundFailed, atomic=False, ordered=False)
def record_failed_refund(event: PaymentRefundFailed) -> None:
    """Record with the order that the customer's bank returned a refund."""
    order_payments.refresh(event.order_id)


@on(PaymentDisputed, atomic=False, ordered=False)
def record_dispute(event: PaymentDisputed) -> None:
    """Record a dispute, or its decision, with the order."""
    order_payments.refresh(event.order_id)


@on(PaymentNeedsAttention, atomic=False, ordered=False)
def record_payment_task(event: PaymentNeedsAttention) -> None:
    """Record with the order that staff have to decide about its payment, and resume a checkout that waits for it."""
    order_payments.refresh(event.order_id)
    try:
        orders.resume(event.order_id)
    except orders.OrderNotFound:
        return


@on(PaymentTaskClosed, atomic=False, ordered=False)
def record_payment_decision(event: PaymentTaskClosed) -> None:
    """Record with the order that its payment does not wait for staff any more."""
    order_payments.refresh(event.order_id)


@on(ReservationDue, atomic=False, ordered=False)
def decide_on_due_reservation(event: ReservationDue) -> None:
    """Resume the checkout, which confirms the order or undoes it. Release stock that is held for an unknown order."""
    try:
        orders.resume(event.order_id)
    except orders.OrderNotFound:
        inventory.release(order_id=event.order_id)


@every(timedelta(seconds=0.25))
def capture_confirmed_orders() -> None:
    """Capture the payments of orders that were confirmed since the last time, many at once."""
    capturing.capture_confirmed()


@every(timedelta(seconds=0.5))
def carry_on_due_checkouts() -> None:
    """Resume checkouts that are due, among them those of a process that died."""
    orders.resume_due()


@every(timedelta(seconds=30))
def send_numbers_of_older_orders() -> None:
    """Tell payments the order numbers that it lacks: those of older releases, whose payments staff search by number."""
    payment_numbers.send_missing()
