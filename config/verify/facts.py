"""What one context has to say that another one's books must agree with.

Facts of two databases cannot meet in a query of either, nor in one transaction. They are read one after the other and
meet in a scratch SQLite, which spills to disk when they are many; there `together.py` compares them.
"""

from dataclasses import dataclass

from config.verify.invariant import ALL


@dataclass(frozen=True)
class Fact:
    """A table of the scratch: who fills it, from which SQL, with which columns."""

    table: str
    contexts: tuple[str, ...]
    columns: str
    key: str  # what it is found by
    sql: str


# `quiet`: nobody is at it, and its last change is older than the grace period. `told`: what its customer is to hear.
_ORDERS = """
SELECT id::text, status, step, total, currency, user_id::text, payment_id::text,
       (lease_until BETWEEN now() AND now() + %(late)s) IS NOT TRUE
           AND coalesce((timeline -> -1 ->> 'at')::timestamptz, created_at) < now() - %(grace)s, lines,
       concat_ws(' ', CASE WHEN timeline @> '[{"kind": "cancelled"}]' THEN 'order_cancelled' END,
                      CASE WHEN timeline @> '[{"kind": "confirmed"}]' THEN 'order_confirmed' END,
                      CASE WHEN timeline @> '[{"kind": "on_hold"}]' THEN 'order_put_on_hold' END,
                      CASE WHEN timeline @> '[{"kind": "rejected"}]' THEN 'order_rejected' END)
FROM orders_order
LEFT JOIN (SELECT order_id, string_agg(concat(quantity, ' × ', sku), ', ' ORDER BY sku COLLATE "C") AS lines
           FROM (SELECT order_id, sku, sum(quantity) AS quantity FROM orders_orderline GROUP BY order_id, sku) line
           GROUP BY order_id) wanted ON order_id = id"""

_RESERVATIONS = """
SELECT order_id::text, status, created_at < now() - %(grace)s, lines
FROM inventory_reservation
LEFT JOIN (SELECT order_id, string_agg(concat(quantity, ' × ', sku), ', ' ORDER BY sku COLLATE "C") AS lines
           FROM inventory_reservationline GROUP BY order_id) line USING (order_id)"""

_PAYMENTS = """
SELECT order_id::text, id::text, provider, status, amount, currency, authorized, captured, refunded,
       created_at < now() - %(grace)s
FROM payments_payment"""

_MESSAGES = """
SELECT subject_id::text, min(order_id::text), min(user_id::text), count(DISTINCT user_id),
       string_agg(DISTINCT template::text, ' ' ORDER BY template::text) FILTER (WHERE channel = 'email'),
       string_agg(DISTINCT template::text, ' ' ORDER BY template::text) FILTER (WHERE channel = 'in_app'),
       min(created_at) < now() - %(grace)s
FROM notifications_message GROUP BY subject_id"""

_PEOPLE = "SELECT id::text, created_at < now() - %(grace)s FROM users_user WHERE sequence > 0"

# Outbox and inbox forget after 30 days. What is younger than 28 is compared, with what is younger than 29.
_SENT = """
SELECT event_id::text, subscriber, concat(event.stream, '#', event.sequence), name, md5(payload::text),
       acknowledged_at < now() - %(grace)s AND occurred_at > now() - interval '28 days'
FROM shop_delivery JOIN shop_outboxevent event ON event.id = event_id
WHERE occurred_at > now() - interval '29 days'"""

_RECEIVED = """
SELECT event_id::text, %(context)s, concat(stream, '#', sequence), name,
       md5((envelope -> 'payload')::text), handler,
       received_at < now() - %(grace)s AND (envelope ->> 'occurred_at')::timestamptz > now() - interval '28 days'
FROM shop_inboxrow WHERE received_at > now() - interval '29 days'"""

FACTS = (
    Fact("messages", ("notifications",), "subject, order_id, user_id, people, emails, in_app, quiet", "subject", _MESSAGES),
    Fact("people", ("users",), "id, quiet", "id", _PEOPLE),
    Fact("reservations", ("inventory",), "order_id, status, quiet, lines", "order_id", _RESERVATIONS),
    Fact(
        "payments", ("payments",),
        "order_id, id, provider, status, amount, currency, authorized, captured, refunded, quiet", "order_id", _PAYMENTS,
    ),
    Fact(
        "orders", ("orders",), "id, status, step, total, currency, user_id, payment_id, quiet, lines, told", "id", _ORDERS,
    ),
    Fact("sent", ALL, "event_id, subscriber, place, name, digest, acknowledged", "event_id", _SENT),
    Fact("received", ALL, "event_id, context, place, name, digest, handler, quiet", "event_id", _RECEIVED),
)  # fmt: skip
