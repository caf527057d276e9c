"""Helpers that publish order events, read the message table and run the sender."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from contexts.notifications.channels import email
from contexts.orders.events import OrderConfirmed, OrderEvent
from contexts.orders.interface import OrderSummary
from shop.db.database import execute, fetch_rows, transaction
from shop.messaging.outbox import Revision, publish
from tests.concurrency import eventually
from tests.engine_driver import run_timers, run_until_idle

_COLUMNS = (
    "id",
    "template",
    "status",
    "text",
    "message_id",
    "reason",
    "attempt",
    "due_at",
    "sequence",
    "sent_at",
    "lease_until",
    "unknown_outcomes",
)


def publish_order_event(event: OrderEvent, sequence: int = 1) -> None:
    """Publish an event of an order and run its handlers."""
    with transaction("orders"):
        publish(event, row=Revision(sequence))
    run_until_idle()


def publish_order_confirmed(order: OrderSummary, sequence: int = 1) -> None:
    """Publish that an order is confirmed and run its handlers."""
    publish_order_event(
        OrderConfirmed(order_id=order.id, number=order.number, user_id=order.user_id, total=order.total), sequence
    )


def read_messages(subject_id: UUID, channel: str = "email") -> list[dict[str, Any]]:
    """Read the messages about an order or a user from the table, without code of the application."""
    found = fetch_rows(
        "notifications",
        f"SELECT {', '.join(_COLUMNS)} FROM notifications_message WHERE subject_id = %s AND channel = %s ORDER BY id",
        [subject_id, channel],
    )
    return [dict(zip(_COLUMNS, row, strict=True)) for row in found]


def read_email_of(order: OrderSummary) -> dict[str, Any]:
    """Read the one e-mail about an order."""
    [mail] = read_messages(order.id)
    return mail


def end_pause(order: OrderSummary) -> None:
    """Make the waiting e-mail about an order due, as after the pause that follows an unknown outcome."""
    sql = "UPDATE notifications_message SET due_at = now() WHERE status = 'waiting' AND subject_id = %s"
    execute("notifications", sql, [order.id])


def send_until(condition: Callable[[], bool], timeout: float = 15.0) -> None:
    """Run the sender until a condition is true, so that postponed messages are sent too."""
    eventually(condition, lambda: run_timers("notifications"), timeout=timeout)


def deliver(connection: email.Connection, outgoing: email.OutgoingEmail) -> None:
    """Send one message over a connection."""
    mail = email.build(outgoing)
    connection.offer(mail)
    connection.transfer(mail, None)
