"""End the time to pay of orders, instead of waiting until it is over."""

from collections.abc import Iterable

import psycopg

from tests.chaos.row_locks import connection_parameters

# A worker that holds the lease of the order keeps it. An order without one is due as soon as it expires.
EXPIRE_ORDERS_SQL = """
UPDATE orders_order SET expires_at = now(), due_at = CASE WHEN lease_until IS NULL THEN now() ELSE due_at END
WHERE email = ANY(%s) AND due_at IS NOT NULL AND expires_at > now()"""
FIND_ORDERS_SQL = "SELECT id FROM orders_order WHERE email = ANY(%s)"
EXPIRE_RESERVATIONS_SQL = """
UPDATE inventory_reservation SET due_at = now(), announce_at = now()
WHERE order_id = ANY(%s) AND status = 'held' AND due_at > now()"""


def expire(emails: Iterable[str]) -> None:
    """Let the time to pay of these customers' orders be over now, on connections in which no fault is injected."""
    wanted = list(emails)
    if not wanted:
        return
    with _connect("orders") as orders:
        orders.execute(EXPIRE_ORDERS_SQL, [wanted])
        ids = [order_id for (order_id,) in orders.execute(FIND_ORDERS_SQL, [wanted])]
    with _connect("inventory") as inventory:
        inventory.execute(EXPIRE_RESERVATIONS_SQL, [ids])


def _connect(context: str) -> psycopg.Connection:
    return psycopg.connect(**connection_parameters(context), autocommit=True)
