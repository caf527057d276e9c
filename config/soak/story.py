"""The story of an order: everything that any database, buyer and mail server knows of it, in time order."""

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

from config.soak.history import Entry
from shop.database import rows

CONTEXTS = ("orders", "inventory", "payments", "users", "notifications")
LONGEST = 400  # characters of an answer that are shown
BEFORE = 10.0  # seconds before the first request from which faults are told


class Moment(NamedTuple):
    """Something that happened."""

    at: datetime
    where: str
    what: str


def tell(order_id: str, history: Iterable[Entry] = ()) -> list[str]:
    """The lines of an order's story: first what happened, then how it all stands. Empty for an order that nobody knows."""
    moments = [*_in_orders(order_id), *_in_inventory(order_id), *_in_payments(order_id), *_in_notifications(order_id)]
    moments += _events(order_id)
    moments += _heard(order_id, history)
    lines = [f"{moment.at:%H:%M:%S.%f}  {moment.where:<14} {moment.what}" for moment in sorted(moments)]
    standing = list(_standing(order_id))
    if not lines and not standing:
        return []
    return [f"The story of order {order_id}", *lines, "How it stands:", *standing]


def _in_orders(order_id: str) -> Iterator[Moment]:
    look = "SELECT created_at, number, timeline, cancel_requested_at FROM orders_order WHERE id = %s"
    for at, number, timeline, cancel in rows("orders", look, [order_id]):
        yield Moment(at, "orders", f"order {number} is made")
        for entry in _decoded(timeline):
            yield Moment(datetime.fromisoformat(entry["at"]), "timeline", f"{entry['kind']}: {entry['text']}")
        if cancel:
            yield Moment(cancel, "orders", "a cancel is asked for")


def _in_inventory(order_id: str) -> Iterator[Moment]:
    made = "SELECT created_at FROM inventory_reservation WHERE order_id = %s"
    for (at,) in rows("inventory", made, [order_id]):
        yield Moment(at, "inventory", "the reservation is made")
    moved = "SELECT at, kind, quantity, sku FROM inventory_stockmovement WHERE order_id = %s"
    for at, kind, quantity, sku in rows("inventory", moved, [order_id]):
        yield Moment(at, "inventory", f"{kind} {quantity:+} {sku}")


def _in_payments(order_id: str) -> Iterator[Moment]:
    made = "SELECT created_at, reference FROM payments_payment WHERE order_id = %s"
    for at, reference in rows("payments", made, [order_id]):
        yield Moment(at, "payments", f"the payment {reference or '(a tombstone)'} is made")
    booked = """SELECT at, booking, account, entry.amount FROM payments_ledgerentry entry
                JOIN payments_payment payment ON payment.id = payment_id WHERE order_id = %s"""
    for at, booking, account, amount in rows("payments", booked, [order_id]):
        yield Moment(at, "payments", f"booked {booking}: {account} {amount:+}")


def _in_notifications(order_id: str) -> Iterator[Moment]:
    look = """SELECT created_at, sent_at, template, channel, message_id, status FROM notifications_message
              WHERE order_id = %s"""
    for at, sent, template, channel, message_id, status in rows("notifications", look, [order_id]):
        yield Moment(at, "notifications", f"{template} by {channel} {message_id} is written")
        if sent:
            yield Moment(sent, "notifications", f"{template} by {channel} is {status}")


_PUBLISHED = """
SELECT event.id, name, event.stream, event.sequence, occurred_at, subscriber, attempts, acknowledged_at, error
FROM shop_outboxevent event LEFT JOIN shop_delivery delivery ON delivery.event_id = event.id
WHERE payload ->> 'order_id' = %s"""
_RECEIVED = """
SELECT handler, name, received_at, handled_at, parked_at, attempt, error FROM shop_inboxrow
WHERE event_id = ANY(%s)"""


def _events(order_id: str) -> Iterator[Moment]:
    ids = set()
    for publisher in CONTEXTS:
        for event, name, stream, sequence, at, subscriber, attempts, acknowledged, error in rows(
            publisher, _PUBLISHED, [order_id]
        ):
            if event not in ids:
                yield Moment(at, f"{publisher} says", f"{name} {stream}#{sequence}")
            ids.add(event)
            if acknowledged:
                yield Moment(
                    acknowledged, f"{publisher} relay", f"{name} is with {subscriber}, attempt {attempts} {error}"
                )
    for subscriber in CONTEXTS:
        for handler, name, received, handled, parked, attempt, error in rows(subscriber, _RECEIVED, [list(ids)]):
            yield Moment(received, f"{subscriber} inbox", f"{name} for {handler}")
            if handled or parked:
                end = "handled" if handled else f"PARKED: {error}"
                yield Moment(handled or parked, f"{subscriber} inbox", f"{name} by {handler}, attempt {attempt}: {end}")


def _heard(order_id: str, history: Iterable[Entry]) -> Iterator[Moment]:
    """What the buyer and the mail server noted, and the faults meanwhile."""
    keys = {key for (key,) in rows("orders", "SELECT key FROM shop_idempotencykey WHERE resource = %s", [order_id])}
    numbers = {number for (number,) in rows("orders", "SELECT number FROM orders_order WHERE id = %s", [order_id])}
    history = list(history)
    journeys = {entry["journey"] for entry in history if entry.get("key") in keys and "journey" in entry}
    mine = [entry for entry in history if _concerns(entry, journeys, numbers)]
    if not mine:
        return
    yield from (Moment(datetime.fromtimestamp(entry["at"], UTC), "heard", _as_text(entry)) for entry in mine)
    times = [entry["at"] for entry in mine if entry.get("purpose") != "repeat"] or [mine[0]["at"]]
    for entry in history:
        if entry["event"] == "fault" and times[0] - BEFORE < entry["at"] < times[-1]:
            yield Moment(datetime.fromtimestamp(entry["at"], UTC), "heard", _as_text(entry))


def _concerns(entry: Entry, journeys: set[int], numbers: set[str]) -> bool:
    if entry["event"] == "mail":
        return any(number in entry["why"] for number in numbers)
    return entry.get("journey") in journeys


def _as_text(entry: Entry) -> str:
    match entry["event"]:
        case "sent":
            return f"→ {entry['request']} {entry['purpose']} {entry['method']} {entry['path']} at {entry['site']}"
        case "answered":
            return f"← {entry['request']} {entry['status']} {entry['answer'][:LONGEST]}"
        case "lost":
            return f"✗ {entry['request']} {entry['why']}"
        case "fault":
            return f"FAULT {entry['kind']} {entry['target']}"
        case "mail":
            return f"mail {entry['kind']}: {entry['why']} {entry['key']}"
    return str(entry)


_STANDING = {
    "order": ("orders", "SELECT * FROM orders_order WHERE id = %s"),
    "lines": ("orders", "SELECT * FROM orders_orderline WHERE order_id = %s ORDER BY position"),
    "reservation": ("inventory", "SELECT * FROM inventory_reservation WHERE order_id = %s"),
    "payment": ("payments", "SELECT * FROM payments_payment WHERE order_id = %s"),
    "provider": (
        "payments",
        "SELECT intent.* FROM payments_sandboxintent intent JOIN payments_payment USING (reference) WHERE order_id = %s",
    ),
    "refunds": (
        "payments",
        """SELECT refund.* FROM payments_refund refund JOIN payments_payment payment ON payment.id = payment_id
           WHERE order_id = %s""",
    ),
    "messages": ("notifications", "SELECT * FROM notifications_message WHERE order_id = %s"),
}


def _standing(order_id: str) -> Iterator[str]:
    for name, (alias, look) in _STANDING.items():
        for (row,) in rows(alias, f"SELECT row_to_json(found)::text FROM ({look}) found", [order_id]):
            yield f"  {name}: {row}"


def _decoded(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value
