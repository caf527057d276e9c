"""End a checkout without an order: rejected or cancelled. Both are final; the undo steps follow."""

from contexts.orders.checkout.history import append_timeline_entry, build_event_keys
from contexts.orders.checkout.persistence import save_or_raise
from contexts.orders.events import OrderCancelled, OrderRejected
from contexts.orders.interface import OrderStatus
from contexts.orders.models import Order
from shop.errors import DomainError


class Expired(DomainError):
    """The order was not paid in time."""

    status = 409


def reject(order: Order, refusal: DomainError, *, undo_step: str) -> None:
    """Reject an order for this reason and continue with `undo_step`. Raises LeaseLost."""
    save_or_raise(
        order,
        OrderRejected(**build_event_keys(order), reason=refusal.code, is_answered=order.is_answered_by_request),
        status=OrderStatus.REJECTED,
        step=undo_step,
        refusal={"code": refusal.code, "facts": refusal.facts, "is_answered": order.is_answered_by_request},
        payment_id=order.payment_id,
        payment_status=order.payment_status,
        payment_action=None,
        payment_token="",
        attempt_counters=None,
        hold_keys=None,
        timeline=append_timeline_entry(order, "rejected", str(refusal)),
    )


def cancel(order: Order, reason: str, text: str, *, undo_step: str) -> None:
    """Cancel an order and continue with `undo_step`; `text` is for its timeline. Raises LeaseLost."""
    save_or_raise(
        order,
        OrderCancelled(**build_event_keys(order), reason=reason),
        status=OrderStatus.CANCELLED,
        step=undo_step,
        payment_action=None,
        payment_token="",
        attempt_counters=None,
        hold_keys=None,
        timeline=append_timeline_entry(order, "cancelled", text),
    )
