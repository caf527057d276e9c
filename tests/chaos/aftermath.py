"""What the databases say of many orders at once, in plain SQL that shares no code with the application."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from shop.database import rows

STREAMS = ("orders.order", "payments.payment", "inventory.reservation")

# What hands something on is looked at before what receives it.
OPEN_EVENTS = """
SELECT split_part(stream, ':', 2) FROM shop_delivery WHERE acknowledged_at IS NULL AND stream = ANY(%(streams)s)
UNION SELECT split_part(stream, ':', 2) FROM shop_inboxrow WHERE handled_at IS NULL AND stream = ANY(%(streams)s)"""
OPEN_WORK = {
    "orders": "SELECT id FROM orders_order WHERE due_at IS NOT NULL AND id = ANY(%(ids)s::uuid[])",
    "payments": "SELECT order_id FROM payments_payment WHERE due_at IS NOT NULL AND order_id = ANY(%(ids)s::uuid[])",
    "inventory": "SELECT order_id FROM inventory_reservation WHERE status = 'held' AND order_id = ANY(%(ids)s::uuid[])",
    "notifications": "SELECT order_id FROM notifications_message WHERE status <> 'sent' AND order_id = ANY(%(ids)s::uuid[])",
}

MONEY = """
SELECT payment.order_id, payment.status, payment.amount, intent.charges, intent.captured, intent.refunded,
       (SELECT coalesce(sum(entry.amount), 0) FROM payments_ledgerentry entry
        WHERE entry.payment_id = payment.id AND account = 'provider')
FROM payments_payment payment JOIN payments_sandboxintent intent USING (reference)
WHERE order_id = ANY(%s::uuid[])"""
UNITS = """
SELECT reservation.order_id, reservation.status, coalesce(sum(quantity) FILTER (WHERE kind = 'sale'), 0),
       coalesce(sum(quantity) FILTER (WHERE kind = 'restock'), 0)
FROM inventory_reservation reservation LEFT JOIN inventory_stockmovement USING (order_id)
WHERE reservation.order_id = ANY(%s::uuid[]) GROUP BY 1, 2"""
SHELVES = """
SELECT sku, on_hand, reserved,
       initial + coalesce((SELECT sum(quantity) FROM inventory_stockmovement moved WHERE moved.sku = stock.sku), 0)
FROM inventory_stock stock WHERE sku = ANY(%s)"""
MAILS = "SELECT order_id, template FROM notifications_message WHERE order_id = ANY(%s::uuid[]) AND channel = 'email'"


@dataclass(frozen=True)
class Fate:
    """How an order ended, by the books of all who had to do with it. Amounts in orders' totals: 1 is all of it."""

    status: str
    step: str
    payment: str | None = None
    charges: int = 0  # by the provider's own books, as are the next two
    captured: float = 0
    refunded: float = 0
    booked: float = 0  # by our ledger
    reservation: str | None = None
    moved: int = 0  # units that left the shelf, or came back
    mails: tuple[str, ...] = ()


def orders_of(emails: Iterable[str]) -> dict[str, list[str]]:
    """The orders of each address."""
    found: dict[str, list[str]] = {email: [] for email in emails}
    for email, order_id in rows("orders", "SELECT email, id FROM orders_order WHERE email = ANY(%s)", [list(found)]):
        found[email].append(str(order_id))
    return found


def at_rest(emails: Iterable[str]) -> set[str]:
    """Those of the addresses that have orders, and with whose orders nobody has anything to do any more."""
    of = {order_id: email for email, ids in orders_of(emails).items() for order_id in ids}
    subject = {"ids": list(of), "streams": [f"{stream}:{order_id}" for stream in STREAMS for order_id in of]}
    restless = set()
    for alias, work in OPEN_WORK.items():
        restless |= {of[str(order_id)] for query in (work, OPEN_EVENTS) for (order_id,) in rows(alias, query, subject)}
    return set(of.values()) - restless


def fates(emails: Iterable[str]) -> dict[str, list[Fate]]:
    """How the orders of each address ended."""
    of, orders = orders_of(emails), {}
    ids = [order_id for mine in of.values() for order_id in mine]
    for order_id, status, step in rows(
        "orders", "SELECT id, status, step FROM orders_order WHERE id = ANY(%s::uuid[])", [ids]
    ):
        orders[str(order_id)] = {"status": status, "step": step, "mails": ()}
    for order_id, status, amount, charges, *moved in rows("payments", MONEY, [ids]):
        captured, refunded, booked = (float(part) / amount for part in moved)
        orders[str(order_id)] |= {
            "payment": status, "charges": charges, "captured": captured, "refunded": refunded, "booked": booked
        }  # fmt: skip
    for order_id, status, sold, restocked in rows("inventory", UNITS, [ids]):
        orders[str(order_id)] |= {"reservation": status, "moved": int(sold + restocked)}
    for order_id, template in sorted(rows("notifications", MAILS, [ids]), key=lambda row: row[1]):
        orders[str(order_id)]["mails"] += (template,)
    return {email: [Fate(**orders[order_id]) for order_id in mine] for email, mine in of.items()}


def shelves(skus: Iterable[str]) -> dict[str, tuple[int, int, int]]:
    """On hand, reserved, and what the movements say is on hand."""
    return {
        sku: (on_hand, reserved, int(told)) for sku, on_hand, reserved, told in rows("inventory", SHELVES, [list(skus)])
    }


def keys(keys_: Iterable[str]) -> Counter:
    """How many rows each Idempotency-Key has."""
    return Counter(
        key for (key,) in rows("orders", "SELECT key FROM shop_idempotencykey WHERE key = ANY(%s)", [list(keys_)])
    )
