"""Read the final states of many orders at once, in plain SQL that shares no code with the application."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from shop.db.database import fetch_rows

STREAMS = ("orders.order", "payments.payment", "inventory.reservation")

# In this order: deliveries before the inbox rows that they become, so that an event on its path is not missed.
UNHANDLED_EVENTS_SQL = """
SELECT split_part(stream, ':', 2) FROM shop_delivery WHERE acknowledged_at IS NULL AND stream = ANY(%(streams)s)
UNION SELECT split_part(stream, ':', 2) FROM shop_inboxrow WHERE handled_at IS NULL AND stream = ANY(%(streams)s)"""
UNFINISHED_WORK_SQL = {
    "orders": "SELECT id FROM orders_order WHERE due_at IS NOT NULL AND id = ANY(%(ids)s::uuid[])",
    "payments": "SELECT order_id FROM payments_payment WHERE due_at IS NOT NULL AND order_id = ANY(%(ids)s::uuid[])",
    "inventory": "SELECT order_id FROM inventory_reservation WHERE status = 'held' AND order_id = ANY(%(ids)s::uuid[])",
    "notifications": "SELECT order_id FROM notifications_message WHERE status <> 'sent' AND order_id = ANY(%(ids)s::uuid[])",
}

PAYMENTS_SQL = """
SELECT payment.order_id, payment.status, payment.amount, intent.charges, intent.captured, intent.refunded,
       (SELECT coalesce(sum(entry.amount), 0) FROM payments_ledgerentry entry
        WHERE entry.payment_id = payment.id AND account = 'provider')
FROM payments_payment payment JOIN payments_sandboxintent intent USING (reference)
WHERE order_id = ANY(%s::uuid[])"""
RESERVATIONS_SQL = """
SELECT reservation.order_id, reservation.status, coalesce(sum(quantity) FILTER (WHERE kind = 'sale'), 0),
       coalesce(sum(quantity) FILTER (WHERE kind = 'restock'), 0)
FROM inventory_reservation reservation LEFT JOIN inventory_stockmovement USING (order_id)
WHERE reservation.order_id = ANY(%s::uuid[]) GROUP BY 1, 2"""
STOCK_SQL = """
SELECT sku, on_hand, reserved,
       initial + coalesce((SELECT sum(quantity) FROM inventory_stockmovement moved WHERE moved.sku = stock.sku), 0)
FROM inventory_stock stock WHERE sku = ANY(%s)"""
EMAILS_SQL = (
    "SELECT order_id, template FROM notifications_message WHERE order_id = ANY(%s::uuid[]) AND channel = 'email'"
)


@dataclass(frozen=True)
class FinalState:
    """The final state of an order in the tables of every context. Amounts are shares of the total: 1 is all of it."""

    status: str
    step: str
    payment: str | None = None
    charges: int = 0  # in the tables of the provider, as are the next two
    captured: float = 0
    refunded: float = 0
    booked: float = 0  # in the ledger of payments
    reservation: str | None = None
    moved: int = 0  # units that were sold (negative) or restocked
    mails: tuple[str, ...] = ()


def order_ids_by_email(emails: Iterable[str]) -> dict[str, list[str]]:
    """Return the ids of the orders of each email address."""
    found: dict[str, list[str]] = {email: [] for email in emails}
    for email, order_id in fetch_rows(
        "orders", "SELECT email, id FROM orders_order WHERE email = ANY(%s)", [list(found)]
    ):
        found[email].append(str(order_id))
    return found


def find_finished(emails: Iterable[str]) -> set[str]:
    """Return the addresses that have orders, all of them without unfinished work in any context."""
    of = {order_id: email for email, ids in order_ids_by_email(emails).items() for order_id in ids}
    subject = {"ids": list(of), "streams": [f"{stream}:{order_id}" for stream in STREAMS for order_id in of]}
    unfinished = set()
    for alias, work in UNFINISHED_WORK_SQL.items():
        unfinished |= {
            of[str(order_id)]
            for query in (work, UNHANDLED_EVENTS_SQL)
            for (order_id,) in fetch_rows(alias, query, subject)
        }
    return set(of.values()) - unfinished


def load_final_states(emails: Iterable[str]) -> dict[str, list[FinalState]]:
    """Return the final states of the orders of each address."""
    of, orders = order_ids_by_email(emails), {}
    ids = [order_id for mine in of.values() for order_id in mine]
    for order_id, status, step in fetch_rows(
        "orders", "SELECT id, status, step FROM orders_order WHERE id = ANY(%s::uuid[])", [ids]
    ):
        orders[str(order_id)] = {"status": status, "step": step, "mails": ()}
    for order_id, status, amount, charges, *moved in fetch_rows("payments", PAYMENTS_SQL, [ids]):
        captured, refunded, booked = (float(part) / amount for part in moved)
        orders[str(order_id)] |= {
            "payment": status, "charges": charges, "captured": captured, "refunded": refunded, "booked": booked
        }  # fmt: skip
    for order_id, status, sold, restocked in fetch_rows("inventory", RESERVATIONS_SQL, [ids]):
        orders[str(order_id)] |= {"reservation": status, "moved": int(sold + restocked)}
    for order_id, template in sorted(fetch_rows("notifications", EMAILS_SQL, [ids]), key=lambda row: row[1]):
        orders[str(order_id)]["mails"] += (template,)
    return {email: [FinalState(**orders[order_id]) for order_id in mine] for email, mine in of.items()}


def load_stock(skus: Iterable[str]) -> dict[str, tuple[int, int, int]]:
    """Return the units on hand, the reserved ones, and what the stock movements add up to, by SKU."""
    return {
        sku: (on_hand, reserved, int(recorded))
        for sku, on_hand, reserved, recorded in fetch_rows("inventory", STOCK_SQL, [list(skus)])
    }


def count_idempotency_keys(wanted: Iterable[str]) -> Counter:
    """Count the rows of each Idempotency-Key."""
    return Counter(
        key
        for (key,) in fetch_rows("orders", "SELECT key FROM shop_idempotencykey WHERE key = ANY(%s)", [list(wanted)])
    )
