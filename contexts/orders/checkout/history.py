"""Build what the history of an order is made of: timeline entries and the keys of its events."""

from typing import TypedDict
from uuid import UUID

from contexts.orders.models import Order
from shop import clock


class EventKeys(TypedDict):
    """The fields that every event of an order carries."""

    order_id: UUID
    number: str
    user_id: UUID | None


def build_event_keys(order: Order) -> EventKeys:
    """Return the fields that every event of this order carries."""
    return {"order_id": order.id, "number": order.number, "user_id": order.user_id}


def append_timeline_entry(order: Order, kind: str, text: str, context: str = "orders") -> list[dict[str, str]]:
    """Return the order's timeline with one more entry. `context` names where it happened."""
    return [*order.timeline, {"at": clock.now().isoformat(), "kind": kind, "text": text, "context": context}]
