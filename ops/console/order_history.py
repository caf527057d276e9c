"""Describe the history of an order: all that the databases, the buyers and the mail server recorded, in order of time."""

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from config.contexts import ALL_CONTEXTS
from ops.console.request_log import Entry
from shop.db.database import fetch_rows

MAX_RESPONSE_CHARACTERS = 400  # of a response body that is shown
FAULT_LEAD_SECONDS = 10.0  # faults are shown from this time before the first request


class TimelineEntry(NamedTuple):
    """Something that happened to the order."""

    at: datetime
    source: str
    text: str


def describe_order(order_id: str, request_log: Iterable[Entry] = ()) -> list[str]:
    """Describe an order in lines: first its history, then its current rows. Empty if no database has the order."""
    entries = [
        *_read_orders(order_id),
        *_read_inventory(order_id),
        *_read_payments(order_id),
        *_read_notifications(order_id),
        *_read_events(order_id),
        *_read_request_log(order_id, list(request_log)),
    ]
    lines = [f"{entry.at:%H:%M:%S.%f}  {entry.source:<14} {entry.text}" for entry in sorted(entries)]
    rows = list(_read_current_rows(order_id))
    if not lines and not rows:
        return []
    return [f"History of order {order_id}", *lines, "Current rows:", *rows]


def _read_orders(order_id: str) -> Iterator[TimelineEntry]:
    select = "SELECT created_at, number, timeline, cancel_requested_at FROM orders_order WHERE id = %s"
    for at, number, timeline, cancelled_at in fetch_rows("orders", select, [order_id]):
        yield TimelineEntry(at, "orders", f"order {number} created")
        for entry in json.loads(timeline) if isinstance(timeline, str) else timeline:
            yield TimelineEntry(datetime.fromisoformat(entry["at"]), "timeline", f"{entry['kind']}: {entry['text']}")
        if cancelled_at:
            yield TimelineEntry(cancelled_at, "orders", "cancellation requested")


def _read_inventory(order_id: str) -> Iterator[TimelineEntry]:
    reservations = "SELECT created_at FROM inventory_reservation WHERE order_id = %s"
    for (at,) in fetch_rows("inventory", reservations, [order_id]):
        yield TimelineEntry(at, "inventory", "reservation created")
    movements = "SELECT at, kind, quantity, sku FROM inventory_stockmovement WHERE order_id = %s"
    for at, kind, quantity, sku in fetch_rows("inventory", movements, [order_id]):
        yield TimelineEntry(at, "inventory", f"{kind} {quantity:+} {sku}")


def _read_payments(order_id: str) -> Iterator[TimelineEntry]:
    payments = "SELECT created_at, reference FROM payments_payment WHERE order_id = %s"
    for at, reference in fetch_rows("payments", payments, [order_id]):
        yield TimelineEntry(at, "payments", f"payment {reference or '(a tombstone)'} created")
    ledger = """SELECT at, booking, account, entry.amount FROM payments_ledgerentry entry
                JOIN payments_payment payment ON payment.id = payment_id WHERE order_id = %s"""
    for at, booking, account, amount in fetch_rows("payments", ledger, [order_id]):
        yield TimelineEntry(at, "payments", f"booked {booking}: {account} {amount:+}")


def _read_notifications(order_id: str) -> Iterator[TimelineEntry]:
    select = """SELECT created_at, sent_at, template, channel, message_id, status FROM notifications_message
                WHERE order_id = %s"""
    for at, sent_at, template, channel, message_id, status in fetch_rows("notifications", select, [order_id]):
        yield TimelineEntry(at, "notifications", f"{template} by {channel} {message_id} created")
        if sent_at:
            yield TimelineEntry(sent_at, "notifications", f"{template} by {channel} {status}")


_PUBLISHED = """
SELECT event.id, name, event.stream, event.sequence, occurred_at, subscriber, coalesce(acknowledged_at, parked_at),
       CASE WHEN parked_at IS NOT NULL THEN concat('PARKED: ', error) WHEN discarded_because <> '' THEN 'discarded'
            ELSE concat('delivered, attempt ', attempts, ' ', error) END
FROM shop_outboxevent event LEFT JOIN shop_delivery delivery ON delivery.event_id = event.id
WHERE payload ->> 'order_id' = %s"""
_RECEIVED = """
SELECT handler, name, received_at, handled_at, parked_at, attempt, error FROM shop_inboxrow
WHERE event_id = ANY(%s)"""


def _read_events(order_id: str) -> Iterator[TimelineEntry]:
    ids = set()
    for publisher in ALL_CONTEXTS:
        for event, name, stream, sequence, at, subscriber, ended, outcome in fetch_rows(
            publisher, _PUBLISHED, [order_id]
        ):
            if event not in ids:
                yield TimelineEntry(at, f"{publisher} outbox", f"{name} {stream}#{sequence}")
            ids.add(event)
            if ended:
                yield TimelineEntry(ended, f"{publisher} relay", f"{name} to {subscriber} {outcome}")
    for subscriber in ALL_CONTEXTS:
        for handler, name, received, handled, parked, attempt, error in fetch_rows(subscriber, _RECEIVED, [list(ids)]):
            yield TimelineEntry(received, f"{subscriber} inbox", f"{name} for {handler}")
            if handled or parked:
                outcome = "handled" if handled else f"PARKED: {error}"
                text = f"{name} by {handler}, attempt {attempt}: {outcome}"
                yield TimelineEntry(handled or parked, f"{subscriber} inbox", text)


def _read_request_log(order_id: str, request_log: list[Entry]) -> Iterator[TimelineEntry]:
    """Read the entries of the buyer and the mail server about the order, and the faults in that time."""
    keys = {
        key for (key,) in fetch_rows("orders", "SELECT key FROM shop_idempotencykey WHERE resource = %s", [order_id])
    }
    numbers = {
        number for (number,) in fetch_rows("orders", "SELECT number FROM orders_order WHERE id = %s", [order_id])
    }
    journeys = {entry["journey"] for entry in request_log if entry.get("key") in keys and "journey" in entry}
    own = [entry for entry in request_log if _is_about_order(entry, journeys, numbers)]
    if not own:
        return
    times = [entry["at"] for entry in own if entry.get("purpose") != "repeat"] or [own[0]["at"]]
    start, end = times[0] - FAULT_LEAD_SECONDS, times[-1]
    faults = [entry for entry in request_log if entry["event"] == "fault" and start < entry["at"] < end]
    for entry in own + faults:
        yield TimelineEntry(datetime.fromtimestamp(entry["at"], UTC), "request log", _format_entry(entry))


def _is_about_order(entry: Entry, journeys: set[int], numbers: set[str]) -> bool:
    if entry["event"] == "mail":
        return any(number in entry["why"] for number in numbers)
    return entry.get("journey") in journeys


def _format_entry(entry: Entry) -> str:
    match entry["event"]:
        case "sent":
            return f"→ {entry['request']} {entry['purpose']} {entry['method']} {entry['path']} at {entry['site']}"
        case "answered":
            return f"← {entry['request']} {entry['status']} {entry['answer'][:MAX_RESPONSE_CHARACTERS]}"
        case "lost":
            return f"✗ {entry['request']} {entry['why']}"
        case "fault":
            return f"FAULT {entry['kind']} {entry['target']}"
        case "mail":
            return f"mail {entry['kind']}: {entry['why']} {entry['key']}"
    return str(entry)


_CURRENT_ROWS = {
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


def _read_current_rows(order_id: str) -> Iterator[str]:
    for name, (alias, select) in _CURRENT_ROWS.items():
        for (row,) in fetch_rows(alias, f"SELECT row_to_json(found)::text FROM ({select}) found", [order_id]):
            yield f"  {name}: {row}"
