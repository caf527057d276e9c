"""Move everything that is recorded about an order into the past, in all databases."""

from collections.abc import Iterable

from django.conf import settings

from shop.db.database import execute

_BACKDATE_TIMELINE_SQL = """
UPDATE orders_order SET created_at = created_at - %(by)s::interval, timeline = (
    SELECT jsonb_agg(jsonb_set(entry, '{at}', to_jsonb((entry ->> 'at')::timestamptz - %(by)s::interval)) ORDER BY number)
    FROM jsonb_array_elements(timeline) WITH ORDINALITY AS item (entry, number))
WHERE id = ANY(%(orders)s::uuid[])"""

_BACKDATE_PAYMENT_SQL = """
UPDATE orders_orderpayment SET timeline = (
    SELECT jsonb_agg(jsonb_set(entry, '{at}', to_jsonb((entry ->> 'at')::timestamptz - %(by)s::interval)) ORDER BY number)
    FROM jsonb_array_elements(timeline) WITH ORDINALITY AS item (entry, number))
WHERE order_id = ANY(%(orders)s::uuid[]) AND timeline <> '[]'"""

_BACKDATE_ENVELOPE_SQL = """
UPDATE shop_inboxrow SET envelope = jsonb_set(
    envelope, '{occurred_at}', to_jsonb((envelope ->> 'occurred_at')::timestamptz - %(by)s::interval))
WHERE split_part(stream, ':', 2) = ANY(%(orders)s::text[])"""

_COLUMNS = {
    "inventory": {"inventory_reservation": ("created_at",)},
    "payments": {"payments_payment": ("created_at",)},
    "notifications": {"notifications_message": ("created_at",)},
}
_KERNEL = {
    "shop_outboxevent": ("occurred_at",),
    "shop_delivery": ("acknowledged_at",),
    "shop_inboxrow": ("received_at", "handled_at"),
}


def backdate(orders: Iterable[str], by: str = "5 minutes") -> None:
    """Make these orders older by an interval, with everything that belongs to them in other contexts."""
    values = {"orders": list(orders), "by": by}
    execute("orders", _BACKDATE_TIMELINE_SQL, values)
    execute("orders", _BACKDATE_PAYMENT_SQL, values)
    for context in settings.CONTEXTS:
        execute(context, _BACKDATE_ENVELOPE_SQL, values)
        for table, columns in _COLUMNS.get(context, {}).items():
            _shift(context, table, columns, "order_id = ANY(%(orders)s::uuid[])", values)
        for table, columns in _KERNEL.items():
            _shift(context, table, columns, "split_part(stream, ':', 2) = ANY(%(orders)s::text[])", values)


def _shift(context: str, table: str, columns: Iterable[str], where: str, values: dict[str, object]) -> None:
    earlier = ", ".join(f"{column} = {column} - %(by)s::interval" for column in columns)
    execute(context, f"UPDATE {table} SET {earlier} WHERE {where}", values)
