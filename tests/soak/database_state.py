"""The state of the databases that the audit checks, read with plain SQL that shares no code with the application."""

import json
from pathlib import Path
from typing import Any

import msgspec

from shop.db.database import fetch_rows


class Order(msgspec.Struct, kw_only=True):
    """An order in the tables of orders."""

    id: str
    number: str
    status: str
    step: str
    email: str
    total: int
    refusal: str | None
    was_confirmed: bool
    lines: list[tuple[str, int, int]]  # SKU, quantity, unit price


class Money(msgspec.Struct, kw_only=True):
    """The money of one order, in the tables of payments and in those of the provider, in minor units."""

    payment: str
    status: str
    captured: int
    refunded: int
    intent: str | None = None
    amount: int = 0
    charges: int = 0
    provider_captured: int = 0
    provider_refunded: int = 0


class Refund(msgspec.Struct, kw_only=True):
    """A refund by staff; `key` is the idempotency key of the request."""

    key: str
    payment: str
    amount: int
    status: str


class Stock(msgspec.Struct, kw_only=True):
    """The units of one SKU."""

    initial: int
    on_hand: int
    reserved: int


class Message(msgspec.Struct, kw_only=True):
    """An email about an order in the tables of notifications."""

    order: str
    template: str
    status: str
    message_id: str


class DatabaseState(msgspec.Struct, kw_only=True):
    """Everything that the audit checks, by the ids that customers see."""

    orders: dict[str, Order]
    keys: dict[str, str | None]  # by Idempotency-Key of the request: the id of the order
    money: dict[str, Money]
    refunds: list[Refund]
    stock: dict[str, Stock]
    messages: list[Message]


# By context: the rows that are not final yet, by name.
UNFINISHED_BY_CONTEXT = {
    "orders": {"orders": "orders_order WHERE step NOT IN ('done', 'closed')"},
    "payments": {
        "payments": """payments_payment
            WHERE status IN ('processing', 'unknown', 'requires_action', 'capturing', 'voiding', 'refunding')"""
    },
    "inventory": {"reservations": "inventory_reservation WHERE status = 'held'"},
    "notifications": {"messages": "notifications_message WHERE status = 'waiting'"},
    "users": {},
}
UNFINISHED_MESSAGING = {
    "deliveries": "shop_delivery WHERE acknowledged_at IS NULL",
    "events": "shop_inboxrow WHERE handled_at IS NULL AND parked_at IS NULL",
}


def count_unfinished() -> dict[str, int]:
    """Count the rows that are not final yet, by name; empty if there are none."""
    found: dict[str, int] = {}
    for alias, own in UNFINISHED_BY_CONTEXT.items():
        for name, where in (own | UNFINISHED_MESSAGING).items():
            [(count,)] = fetch_rows(alias, f"SELECT count(*) FROM {where}")
            if count:
                found[name] = found.get(name, 0) + count
    return found


def list_parked_events() -> list[str]:
    """Describe the events that are parked after too many failures."""
    parked = """SELECT handler, stream, sequence, error FROM shop_inboxrow WHERE parked_at IS NOT NULL
                UNION ALL SELECT subscriber, stream, sequence, error FROM shop_delivery WHERE parked_at IS NOT NULL"""
    return [
        f"{handler} {stream}#{n}: {error}"
        for alias in UNFINISHED_BY_CONTEXT
        for handler, stream, n, error in fetch_rows(alias, parked)
    ]


def read_state() -> DatabaseState:
    """Read the current state."""
    return DatabaseState(
        orders=_read_orders(),
        keys=dict(
            fetch_rows(
                "orders",
                "SELECT key, resource::text FROM shop_idempotencykey WHERE scope LIKE '%% POST /api/v1/orders'",
            )
        ),
        money=_read_money(),
        refunds=[
            Refund(key=key.rpartition(" ")[2], payment=p, amount=a, status=s)
            for key, p, a, s in fetch_rows("payments", _REFUNDS)
        ],
        stock={sku: Stock(initial=i, on_hand=n, reserved=r) for sku, i, n, r in fetch_rows("inventory", _STOCK)},
        messages=[
            Message(order=order, template=template, status=status, message_id=message_id)
            for order, template, status, message_id in fetch_rows("notifications", _MESSAGES)
        ],
    )


def save_state(state: DatabaseState, path: Path) -> None:
    path.write_bytes(msgspec.json.encode(state))


def load_state(path: Path) -> DatabaseState:
    """Read what `save_state` wrote, so that an audit can be repeated without the databases."""
    return msgspec.json.decode(path.read_bytes(), type=DatabaseState)


_ORDERS = """
SELECT id::text, number, status, step, email, total, refusal ->> 'code', timeline @> '[{"kind": "confirmed"}]',
       (SELECT jsonb_agg(jsonb_build_array(sku, quantity, unit_price) ORDER BY position)
        FROM orders_orderline line WHERE line.order_id = orders_order.id)
FROM orders_order"""
_PAYMENTS = """
SELECT order_id::text, payment.id::text, payment.status, payment.captured, payment.refunded, intent.status,
       coalesce(intent.amount, 0), coalesce(charges, 0), coalesce(intent.captured, 0), coalesce(intent.refunded, 0)
FROM payments_payment payment LEFT JOIN payments_sandboxintent intent USING (reference)"""
_REFUNDS = "SELECT key, payment_id::text, amount, status FROM payments_refund WHERE actor <> ''"
_STOCK = "SELECT sku, initial, on_hand, reserved FROM inventory_stock"
_MESSAGES = """
SELECT order_id::text, template, status, message_id FROM notifications_message
WHERE channel = 'email'"""


def _read_orders() -> dict[str, Order]:
    found = {}
    for order_id, number, status, step, email, total, refusal, confirmed, lines in fetch_rows("orders", _ORDERS):
        found[order_id] = Order(
            id=order_id, number=number, status=status, step=step, email=email, total=total, refusal=refusal,
            was_confirmed=confirmed, lines=[tuple(line) for line in json.loads(lines)],
        )  # fmt: skip
    return found


def _read_money() -> dict[str, Money]:
    found: dict[str, Any] = {}
    for (
        order,
        payment,
        status,
        captured,
        refunded,
        intent,
        amount,
        charges,
        provider_captured,
        provider_refunded,
    ) in fetch_rows("payments", _PAYMENTS):
        found[order] = Money(
            payment=payment, status=status, captured=captured, refunded=refunded, intent=intent, amount=amount,
            charges=charges, provider_captured=provider_captured, provider_refunded=provider_refunded,
        )  # fmt: skip
    return found
