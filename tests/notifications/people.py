"""Customers and staff with signed tokens, and a reader of the tables that shares nothing with the application."""

import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import jwt
from django.conf import settings

from contexts.orders.events import OrderConfirmed, OrderEvent
from contexts.orders.interface import OrderSummary
from shop.database import rows, transaction
from shop.outbox import publish
from tests.browser import Client
from tests.orders.clockwork import run_timers, run_until_idle
from tests.threads import eventually


def token(user_id: UUID, *, kind: str = "access", permissions: tuple[str, ...] = ()) -> str:
    """As users would sign it."""
    now = int(time.time())
    claims = {
        "sub": str(user_id), "typ": kind, "iat": now, "exp": now + 300, "name": "clerk", "permissions": permissions,
        "aud": settings.JWT_AUDIENCE, "iss": settings.JWT_ISSUER,
    }  # fmt: skip
    return jwt.encode(claims, settings.JWT_SIGNING_KEY, "ES256", headers={"kid": settings.JWKS["keys"][0]["kid"]})


def customer(user_id: UUID) -> Client:
    """Somebody signed in."""
    return Client(headers={"Authorization": f"Bearer {token(user_id)}"})


def clerk(user_id: UUID, *permissions: str) -> Client:
    """Staff in the admin."""
    client = Client()
    session = client.session
    session["staff_token"] = token(user_id, kind="staff", permissions=permissions)
    session.save()
    client.cookies[settings.SESSION_COOKIE_NAME] = session.session_key
    return client


def happened(event: OrderEvent, sequence: int = 1) -> None:
    """Announce a fact about an order, and let everybody hear it."""
    with transaction("orders"):
        publish(event, sequence=sequence)
    run_until_idle()


def confirm(order: OrderSummary, sequence: int = 1) -> None:
    """Announce that an order is confirmed."""
    happened(OrderConfirmed(order_id=order.id, number=order.number, user_id=order.user_id, total=order.total), sequence)


def messages(subject_id: UUID, channel: str = "email") -> list[dict[str, Any]]:
    """The messages about an order or a user, as they stand in the table."""
    names = (
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
    )
    found = rows(
        "notifications",
        f"SELECT {', '.join(names)} FROM notifications_message WHERE subject_id = %s AND channel = %s ORDER BY id",
        [subject_id, channel],
    )
    return [dict(zip(names, row, strict=True)) for row in found]


def mail_of(order: OrderSummary) -> dict[str, Any]:
    """The one e-mail about an order."""
    [mail] = messages(order.id)
    return mail


def send_until(settled: Callable[[], bool], patience: float = 15.0) -> None:
    """Run the sender's timer until something is so: what was postponed comes back by itself."""
    eventually(settled, lambda: run_timers("notifications"), patience=patience)
