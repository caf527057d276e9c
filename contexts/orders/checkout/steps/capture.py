"""Capture the payment: take the authorized money."""

from datetime import timedelta

from django.conf import settings

from contexts.orders.checkout.endings import cancel
from contexts.orders.checkout.history import append_timeline_entry, build_event_keys
from contexts.orders.checkout.pauses import RECHECK_INTERVAL, Pause
from contexts.orders.checkout.persistence import save_or_raise
from contexts.orders.checkout.steps import authorize
from contexts.orders.events import OrderPaid, OrderPutOnHold
from contexts.orders.interface import OrderStatus
from contexts.orders.models import Order
from contexts.payments.interface import NotCapturable, Payment, payments
from shop.db.database import FromNow
from shop.errors import DomainError, Unavailable

CAPTURED_STATUSES = ("captured", "refunding", "refunded")  # a refund by staff cancels no order

PAID_ENTRY = ("paid", "The payment was taken.", "payments")  # of the timeline: kind, text, context

REFUSALS: tuple[type[DomainError], ...] = (NotCapturable,)

undo = authorize.undo  # One call undoes both: a captured payment is refunded, an authorized one voided.


def do(order: Order, next_step: str) -> Pause | None:
    """Capture the money. A definite refusal puts the order on hold: nothing ships until it is captured."""
    payment = payments.capture(order_id=order.id)
    authorize.record_payment(order, payment)
    if is_paid(order, payment):
        return _mark_paid(order, payment, next_step)
    if payment.status in (*CAPTURED_STATUSES, "capture_refused") and order.status != OrderStatus.ON_HOLD:
        _put_on_hold(order, payment)
    return Pause(RECHECK_INTERVAL)


def on_refused(order: Order, refusal: DomainError, undo_step: str) -> None:
    """Cancel the order: its payment was cancelled, so that there is nothing to capture."""
    cancel(order, "payment_called_off", "The payment was called off.", undo_step=undo_step)


def on_expired(order: Order, undo_step: str) -> None:
    """Ask the provider of an order on hold now. Cancel the order, unless the money was captured or is being captured.

    Raises Unavailable if the provider cannot be asked: then the order waits.
    """
    payment = payments.sync(order_id=order.id)
    if payment:
        authorize.record_payment(order, payment)
    if payment and payment.status == "capturing":
        raise Unavailable(what="The capture of the payment")
    if payment and is_paid(order, payment):
        return  # `do` marks the order as paid
    cancel(order, "not_paid", "The payment could not be taken in time.", undo_step=undo_step)


def is_paid(order: Order, payment: Payment) -> bool:
    """Return whether the whole total was captured. A process of an older release does not say how much was."""
    is_complete = payment.captured is None or payment.captured.amount >= order.total
    return payment.status in CAPTURED_STATUSES and is_complete


def _mark_paid(order: Order, payment: Payment, next_step: str) -> Pause:
    changes = {
        "status": OrderStatus.CONFIRMED,
        "step": next_step,
        "payment_status": payment.status,
        "timeline": append_timeline_entry(order, *PAID_ENTRY),
    }
    return Pause(event=OrderPaid(**build_event_keys(order), total=payment.amount), changes=changes)


def _put_on_hold(order: Order, payment: Payment) -> None:
    """Keep the stock for ON_HOLD_SECONDS, after which the order is cancelled; staff and customer are notified."""
    save_or_raise(
        order,
        OrderPutOnHold(**build_event_keys(order), reason=payment.reason),
        status=OrderStatus.ON_HOLD,
        payment_status=payment.status,
        expires_at=FromNow(timedelta(seconds=settings.ON_HOLD_SECONDS)),
        timeline=append_timeline_entry(order, "on_hold", "The payment could not be taken.", "payments"),
    )
    order.refresh_from_db(fields=["expires_at"])  # set by the clock of the database
