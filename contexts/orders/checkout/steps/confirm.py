"""Confirm the order: from here on stock is the customer's and the money is authorized."""

from contexts.orders.checkout.history import append_timeline_entry, build_event_keys
from contexts.orders.checkout.pauses import CAPTURE_ALONE_AFTER, Pause
from contexts.orders.events import OrderConfirmed
from contexts.orders.interface import OrderStatus
from contexts.orders.models import Order
from shop.errors import DomainError
from shop.money import Money

NOT_CANCELLED_SQL = "cancel_requested_at IS NULL"

REFUSALS: tuple[type[DomainError], ...] = ()

undo = None  # A confirmation cannot be undone: a confirmed order is cancelled, with an event of its own.


def do(order: Order, next_step: str) -> Pause:
    """Confirm the order, unless a cancel was requested before.

    This ends the run: the lease is released in the same transaction, and the capture follows in a set (`service.capturing`).
    """
    changes = {
        "status": OrderStatus.CONFIRMED,
        "step": next_step,
        "payment_id": order.payment_id,
        "payment_status": order.payment_status,
        "payment_action": None,
        "payment_token": "",
        "attempt_counters": None,
        "hold_keys": None,
        "timeline": append_timeline_entry(order, "confirmed", "The order is confirmed."),
    }
    event = OrderConfirmed(**build_event_keys(order), total=Money(order.total, order.currency))
    return Pause(CAPTURE_ALONE_AFTER, event, changes, only_if=NOT_CANCELLED_SQL)


def on_refused(order: Order, refusal: DomainError, undo_step: str) -> None:
    """Do nothing: no other context is called, so nothing is refused."""
