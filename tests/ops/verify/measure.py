"""Measure the verification of many orders: `ORDERS=100000 .venv/bin/python -m pytest -s tests/ops/verify/measure.py`.

Not a part of the suite. One order is completed, and then copied with all that belongs to it in every context.
"""

import os
import resource

from django.conf import settings
from django.db import connections

from ops.verify import verify
from shop.db.database import execute, fetch_rows
from tests.engine_driver import run_until_idle
from tests.factories import create_sku
from tests.shopper import InProcessShopper

ORDERS = int(os.environ.get("ORDERS", "100000"))

# In every column, each id of the first order is replaced by one derived from it and from the copy's number.
_RENAME = """
CREATE FUNCTION pg_temp.renamed(was text, ids text[], copy int) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE id text;
BEGIN
    FOREACH id IN ARRAY ids LOOP
        CONTINUE WHEN position(id IN was) = 0;
        was := replace(was, id, CASE length(id) WHEN 36 THEN md5(replace(id, '-', '') || copy)::uuid::text
                                                ELSE left(md5(id || copy), length(id)) END);
    END LOOP;
    RETURN was;
END $$"""
_COPY = """
INSERT INTO {table} ({columns})
SELECT {copied} FROM (SELECT to_jsonb(row)::text AS was FROM {table} row) first
CROSS JOIN generate_series(1, %s) AS copy
CROSS JOIN LATERAL jsonb_populate_record(NULL::{table}, pg_temp.renamed(was, %s, copy)::jsonb) AS copied
WHERE was ~ %s"""
_COLUMNS = """
SELECT string_agg(quote_ident(column_name), ', '), string_agg('copied.' || quote_ident(column_name), ', ')
FROM information_schema.columns
WHERE table_name = %s AND is_generated = 'NEVER' AND is_identity = 'NO'"""
TABLES = {
    "orders": ("orders_order", "orders_orderline", "shop_idempotencykey"),
    "inventory": ("inventory_reservation", "inventory_reservationline", "inventory_stockmovement"),
    "payments": ("payments_payment", "payments_ledgerentry", "payments_sandboxintent"),
    "notifications": ("notifications_message",),
}
KERNEL = ("shop_outboxevent", "shop_delivery", "shop_inboxrow")


def ids_of(order_id: str) -> list[str]:
    """Return every id of the order and its rows that must be unique."""
    queries = {
        "number": ("orders", "SELECT number FROM orders_order WHERE id = %s"),
        "key": ("orders", "SELECT key FROM shop_idempotencykey WHERE resource = %s"),
        "payment": ("payments", "SELECT id::text FROM payments_payment WHERE order_id = %s"),
        "reference": ("payments", "SELECT replace(id::text, '-', '') FROM payments_payment WHERE order_id = %s"),
        "messages": ("notifications", "SELECT id::text FROM notifications_message WHERE order_id = %s"),
    } | {
        context: (context, "SELECT id::text FROM shop_outboxevent WHERE split_part(stream, ':', 2) = %s")
        for context in settings.CONTEXTS
    }  # fmt: skip
    return [
        order_id,
        *(found for context, sql in queries.values() for (found,) in fetch_rows(context, sql, [order_id])),
    ]


def copy_order(order_id: str, times: int) -> None:
    ids = ids_of(order_id)
    for context in settings.CONTEXTS:
        connections[context].ensure_connection()
        connections[context].connection.answer_timeout = None
        fetch_rows(context, "SET statement_timeout = 0")
        execute(context, _RENAME)
        for table in TABLES.get(context, ()) + KERNEL:
            [(columns, copied)] = fetch_rows(context, _COLUMNS, [table])
            execute(context, _COPY.format(table=table, columns=columns, copied=copied), [times, ids, "|".join(ids)])
        fetch_rows(context, "ANALYZE")


def test_verification_of_many_orders():
    sku, shopper = create_sku(10), InProcessShopper()
    shopper.register()
    order_id = shopper.order(sku, email=None).body["id"]
    run_until_idle()
    copy_order(order_id, ORDERS - 1)
    execute(
        "orders", "UPDATE shop_idempotencykey SET body = convert_to(resource::text, 'UTF8') WHERE resource IS NOT NULL"
    )
    execute(
        "notifications", "UPDATE notifications_message SET due_at = now() + interval '1 hour' WHERE status = 'waiting'"
    )
    execute("inventory", "UPDATE inventory_stock SET initial = initial + %s WHERE sku = %s", [ORDERS - 1, sku])
    report = verify(is_idle=True)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    checked = sum(report.checked_counts.values())
    print(
        f"\n{ORDERS} orders: {checked} rows checked in {report.seconds:.1f} s; the process had at most {memory:.0f} MB"
    )
    assert report.violations == []
    assert report.checked_counts["confirmed_is_paid"] == ORDERS
