"""What the databases say: plain SQL that shares no code with the application. Once all is final, it is what is audited."""

import json
from pathlib import Path
from typing import Any

import msgspec

from shop.database import rows


class Order(msgspec.Struct, kw_only=True):
    """An order as orders knows it."""

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
    """The money of one order, by our books and by the provider's own; minor units."""

    payment: str
    status: str
    captured: int
    refunded: int
    intent: str | None = None
    amount: int = 0
    charges: int = 0
    taken: int = 0
    given_back: int = 0


class Refund(msgspec.Struct, kw_only=True):
    """A refund that staff asked for; `key` is that of the request."""

    key: str
    payment: str
    amount: int
    status: str


class Stock(msgspec.Struct, kw_only=True):
    """Units of one SKU."""

    initial: int
    on_hand: int
    reserved: int


class Message(msgspec.Struct, kw_only=True):
    """An e-mail about an order, as notifications knows it."""

    order: str
    template: str
    status: str
    message_id: str


class Books(msgspec.Struct, kw_only=True):
    """All that the audit looks at, by the ids that customers see."""

    orders: dict[str, Order]
    keys: dict[str, str | None]  # the Idempotency-Key of an order's request: the order
    money: dict[str, Money]
    refunds: list[Refund]
    stock: dict[str, Stock]
    messages: list[Message]


# Per alias: what is not final yet, by name.
UNFINISHED = {
    "orders": {"orders": "orders_order WHERE step NOT IN ('done', 'closed')"},
    "payments": {
        "payments": """payments_payment
            WHERE status IN ('processing', 'unknown', 'requires_action', 'capturing', 'voiding', 'refunding')"""
    },
    "inventory": {"reservations": "inventory_reservation WHERE status = 'held'"},
    "notifications": {"messages": "notifications_message WHERE status = 'waiting'"},
    "users": {},
}
EVERYWHERE = {
    "deliveries": "shop_delivery WHERE acknowledged_at IS NULL",
    "events": "shop_inboxrow WHERE handled_at IS NULL AND parked_at IS NULL",
}


def unfinished() -> dict[str, int]:
    """How much is not final yet, by what it is; empty when all is."""
    found: dict[str, int] = {}
    for alias, own in UNFINISHED.items():
        for name, where in (own | EVERYWHERE).items():
            [(count,)] = rows(alias, f"SELECT count(*) FROM {where}")
            if count:
                found[name] = found.get(name, 0) + count
    return found


def parked() -> list[str]:
    """Events that a handler gave up on."""
    look = "SELECT handler, stream, sequence, error FROM shop_inboxrow WHERE parked_at IS NOT NULL"
    return [
        f"{handler} {stream}#{n}: {error}" for alias in UNFINISHED for handler, stream, n, error in rows(alias, look)
    ]


def read() -> Books:
    """All of it, as it is now."""
    return Books(
        orders=_orders(),
        keys=dict(
            rows(
                "orders",
                "SELECT key, resource::text FROM shop_idempotencykey WHERE scope LIKE '%% POST /api/v1/orders'",
            )
        ),
        money=_money(),
        refunds=[
            Refund(key=key.rpartition(" ")[2], payment=p, amount=a, status=s)
            for key, p, a, s in rows("payments", _REFUNDS)
        ],
        stock={sku: Stock(initial=i, on_hand=n, reserved=r) for sku, i, n, r in rows("inventory", _STOCK)},
        messages=[
            Message(order=order, template=template, status=status, message_id=message_id)
            for order, template, status, message_id in rows("notifications", _MESSAGES)
        ],
    )


def save(books: Books, path: Path) -> None:
    path.write_bytes(msgspec.json.encode(books))


def load(path: Path) -> Books:
    """What `save` wrote: an audit can be made again without the databases."""
    return msgspec.json.decode(path.read_bytes(), type=Books)


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


def _orders() -> dict[str, Order]:
    found = {}
    for order_id, number, status, step, email, total, refusal, confirmed, lines in rows("orders", _ORDERS):
        found[order_id] = Order(
            id=order_id, number=number, status=status, step=step, email=email, total=total, refusal=refusal,
            was_confirmed=confirmed, lines=[tuple(line) for line in json.loads(lines)],
        )  # fmt: skip
    return found


def _money() -> dict[str, Money]:
    found: dict[str, Any] = {}
    for order, payment, status, captured, refunded, intent, amount, charges, taken, given_back in rows(
        "payments", _PAYMENTS
    ):
        found[order] = Money(
            payment=payment, status=status, captured=captured, refunded=refunded, intent=intent, amount=amount,
            charges=charges, taken=taken, given_back=given_back,
        )  # fmt: skip
    return found
