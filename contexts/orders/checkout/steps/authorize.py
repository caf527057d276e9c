"""Authorize the payment, or cancel it."""

from contexts.orders.checkout.endings import Expired, reject
from contexts.orders.checkout.pauses import RECHECK_INTERVAL, Pause, get_full_hold, schedule_retry
from contexts.orders.models import Order
from contexts.payments.interface import Declined, Payment, PaymentMethod, WrongCurrency, payments
from shop.db.database import FromNow
from shop.errors import Closed, DomainError
from shop.money import Money

AUTHORIZED_STATUSES = ("authorized", "capturing", "captured")
ACTED_STATUSES = ("processing", "unknown")  # the customer has acted, and the provider has not answered yet
FINAL_PAYMENT_STATUSES = ("voided", "refunded", "declined")

REFUSALS: tuple[type[DomainError], ...] = (Declined, WrongCurrency, Closed)


def do(order: Order, next_step: str) -> Pause | None:
    """Authorize the total. Wait while the customer has to act or the provider has not answered."""
    method = PaymentMethod(provider=order.payment_provider, token=order.payment_token)
    payment = payments.authorize(
        order_id=order.id,
        amount=Money(order.total, order.currency),
        method=method,
        customer_id=order.user_id,
        order_number=order.number,
    )
    record_payment(order, payment)
    if payment.status in ACTED_STATUSES:
        return Pause(RECHECK_INTERVAL, changes={"expires_at": _extend_hold()})
    if payment.status == "requires_action":
        return Pause(RECHECK_INTERVAL)
    if payment.status not in AUTHORIZED_STATUSES:
        raise Declined(reason=payment.reason or payment.status)
    order.step = next_step
    return None


def on_refused(order: Order, refusal: DomainError, undo_step: str) -> None:
    """Reject the order."""
    reject(order, refusal, undo_step=undo_step)


def on_expired(order: Order, next_step: str, undo_step: str) -> None:
    """Ask the provider now. Continue if the payment was authorized, otherwise reject the order.

    Do not start a new authorization. Raises Unavailable if the provider cannot be asked: then the order waits.
    """
    payment = payments.sync(order_id=order.id)
    if payment:
        record_payment(order, payment)
    if payment and payment.status in AUTHORIZED_STATUSES:
        order.step = next_step
    else:
        reject(order, Expired(), undo_step=undo_step)


def _extend_hold() -> FromNow:
    """Return the time until which an order waits for the provider: the full hold, from when it was placed."""
    full = get_full_hold()
    return FromNow(full, at_latest=f"greatest(expires_at, created_at + interval '{full.total_seconds()} seconds')")


def undo(order: Order, next_step: str) -> Pause | None:
    """Cancel the payment, authorized or captured: payments voids or refunds it, or leaves a tombstone.

    Retried without limit until payments reports a final state, or that the rest is a task for staff: then the money is
    captured and owed to the customer, so no stock has to wait for it.
    """
    payment = payments.cancel(order_id=order.id)
    if payment:
        record_payment(order, payment)
        if payment.status not in FINAL_PAYMENT_STATUSES and not payment.is_undone:
            return schedule_retry(order, f"payment is {payment.status}")
    order.step = next_step
    return None


def record_payment(order: Order, payment: Payment) -> None:
    """Copy the state of the payment to the order, in memory; the next save writes it."""
    order.payment_id, order.payment_status = payment.id, payment.status
    order.payment_action = {"type": payment.action.type, "url": payment.action.url} if payment.action else None
