"""Capture the payments of confirmed orders right after their requests were answered, many at once.

There is one statement for each step. A set takes the leases of its orders and does not renew them. An order is in one set at
most: what a set does not finish, for whatever reason, goes on alone (`orders.resume_due`). So a slow provider, a refused
capture, a cancel and the death of a process are handled there, in one place.
"""

from collections.abc import Sequence

import structlog
from psycopg.types.json import Jsonb

from contexts.orders.checkout.history import append_timeline_entry, build_event_keys
from contexts.orders.checkout.pauses import CAPTURE_ALONE_AFTER
from contexts.orders.checkout.steps import capture
from contexts.orders.events import OrderPaid
from contexts.orders.models import Order
from contexts.payments.interface import Payment, payments
from shop.db.database import PreparedStatement, build_column_list, execute, fetch_instances, fetch_rows, transaction
from shop.db.leases import LEASE_DURATION
from shop.messaging.outbox import Revision, find_traces, publish

ALIAS = "orders"
SET_SIZE = 50

log = structlog.get_logger(__name__)

# A lease that has expired is that of a set whose process died, or of a worker that captures the order alone.
_CLAIM_SQL = PreparedStatement(f"""
UPDATE orders_order SET attempt = attempt + 1, woken = false, lease_until = now() + %s, due_at = now() + %s
WHERE id = ANY(ARRAY(
    SELECT id FROM orders_order
    WHERE due_at <= now() + %s AND step = 'capturing' AND status = 'confirmed' AND payment_status = 'authorized'
      AND lease_until IS NULL AND tries = 0 AND cancel_requested_at IS NULL
    ORDER BY due_at LIMIT %s FOR UPDATE SKIP LOCKED))
RETURNING {build_column_list(Order)}""")

_MARK_PAID_SQL = PreparedStatement("""
UPDATE orders_order paid SET step = 'done', payment_status = mine.payment_status, timeline = mine.timeline,
    sequence = sequence + 1, lease_until = NULL, due_at = NULL
FROM (SELECT placed.id, given.payment_status, given.timeline
      FROM orders_order placed JOIN unnest(%s::uuid[], %s::int[], %s::text[], %s::jsonb[])
           AS given (id, attempt, payment_status, timeline) ON placed.id = given.id AND placed.attempt = given.attempt
      WHERE NOT placed.woken ORDER BY placed.id FOR UPDATE OF placed) mine
WHERE paid.id = mine.id RETURNING paid.id, sequence""")

_RELEASE_SQL = PreparedStatement("""
UPDATE orders_order SET lease_until = NULL, due_at = now(), tries = tries + 1
FROM unnest(%s::uuid[], %s::int[]) AS mine (id, attempt)
WHERE orders_order.id = mine.id AND orders_order.attempt = mine.attempt""")


def capture_confirmed() -> None:
    """Capture the payments of all orders that wait for it, one set after the other."""
    while len(_capture_set()) == SET_SIZE:
        pass


def _capture_set() -> list[Order]:
    parameters = [LEASE_DURATION, LEASE_DURATION, CAPTURE_ALONE_AFTER, SET_SIZE]
    orders = fetch_instances(Order, ALIAS, _CLAIM_SQL, parameters)
    if orders:
        orders.sort(key=lambda order: order.id)
        paid = _mark_paid(orders, _capture(orders))
        _release([order for order in orders if order.id not in paid])
    return orders


def _capture(orders: Sequence[Order]) -> dict[object, Payment]:
    """Return the payments of these orders, by order id. If the call fails, each order is captured alone."""
    try:
        found = payments.capture_orders(order_ids=tuple(order.id for order in orders))
    except Exception as error:
        log.warning("set_not_captured", orders=len(orders), why=repr(error))
        return {}
    return {payment.order_id: payment for payment in found}


def _mark_paid(orders: Sequence[Order], found: dict[object, Payment]) -> set[object]:
    """Mark the orders whose totals are captured as paid. Return the ids of those that were marked.

    Each event continues the trace of the confirmation, which is that of the request in most cases.
    """
    captured = [(order, found[order.id]) for order in orders if order.id in found]
    captured = [(order, payment) for order, payment in captured if capture.is_paid(order, payment)]
    if not captured:
        return set()
    traces = find_traces(ALIAS, {_get_stream(order): order.sequence for order, _ in captured})
    with transaction(ALIAS):
        written = dict(fetch_rows(ALIAS, _MARK_PAID_SQL, _build_columns(captured)))
        for order, payment in captured:
            if order.id in written:
                paid = OrderPaid(**build_event_keys(order), total=payment.amount)
                publish(paid, row=Revision(written[order.id]), trace=traces.get(_get_stream(order)))
    return set(written)


def _get_stream(order: Order) -> str:
    return OrderPaid.stream.format(order_id=order.id)


def _build_columns(captured: Sequence[tuple[Order, Payment]]) -> tuple[list[object], ...]:
    return (
        [order.id for order, _ in captured],
        [order.attempt for order, _ in captured],
        [payment.status.value for _, payment in captured],
        [Jsonb(append_timeline_entry(order, *capture.PAID_ENTRY)) for order, _ in captured],
    )


def _release(orders: Sequence[Order]) -> None:
    """Release the leases of orders that go on alone, at once."""
    if orders:
        execute(ALIAS, _RELEASE_SQL, [[order.id for order in orders], [order.attempt for order in orders]])
