"""Compute what an order's customer sees of its payment, from the order's row and the later reports of payments."""

from typing import NamedTuple

from contexts.orders.interface import OrderStatus
from contexts.orders.models import Order, OrderPayment, Step

UNDONE_STATUSES = ("voided", "refunded", "declined")  # of a payment: nothing follows but a correction
CAPTURED_STATUSES = ("captured", "refunding", "refunded")
# The payment status of an order, by the status of its payment. Captured payments depend on their amounts.
_PAYMENT_STATUSES = {
    "processing": "processing",
    "unknown": "processing",
    "requires_action": "pending",
    "authorized": "authorized",
    "capturing": "authorized",
    "capture_refused": "authorized",
    "voiding": "authorized",
    "voided": "voided",
    "declined": "failed",
}


class PaymentAmounts(NamedTuple):
    """The state of an order's payment. Amounts are in minor units of the order's currency."""

    status: str  # as payments reports it
    payment_status: str  # of the order
    paid: int
    refunded: int
    due: int
    dispute: str


def get_summary(order: Order) -> OrderPayment | None:
    """Return the order's row of OrderPayment if it was read with the order. It is never queried here."""
    if not Order.payment_summary.is_cached(order):
        return None
    summary: OrderPayment | None = getattr(order, "payment_summary", None)  # without a row the attribute is missing
    return summary


def has_failed_refund(summary: OrderPayment) -> bool:
    """Return whether the customer's bank returned a refund of the order, which is then not the end of its payment."""
    return any(refund.get("failed") for refund in summary.refunds)


def compute_payment_amounts(order: Order) -> PaymentAmounts:
    """Compute the payment status of an order and its amounts."""
    summary = get_summary(order)
    status = order.payment_status
    if summary and (status not in UNDONE_STATUSES or has_failed_refund(summary)):
        status = summary.status
    paid = summary.captured if summary else order.total * (status in CAPTURED_STATUSES or order.step == Step.DONE)
    refunded = summary.refunded if summary else 0
    if status == "refunded":
        refunded = max(refunded, paid)
    is_over = order.status in (OrderStatus.REJECTED, OrderStatus.CANCELLED)
    return PaymentAmounts(
        status=status,
        payment_status=_derive_status(status, paid, refunded, order.total, is_over=is_over),
        paid=paid,
        refunded=refunded,
        due=0 if is_over else max(0, order.total - paid),
        dispute=summary.dispute if summary else "none",
    )


def _derive_status(status: str, paid: int, refunded: int, total: int, *, is_over: bool) -> str:
    if not status:
        return "voided" if is_over else "pending"
    if status not in CAPTURED_STATUSES:
        return _PAYMENT_STATUSES.get(status, status)
    if status == "refunded":
        return "refunded"
    if refunded:
        return "partially_refunded"
    if paid == total:
        return "paid"
    return "partially_paid" if paid < total else "overpaid"
