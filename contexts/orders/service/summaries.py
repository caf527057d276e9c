"""Summaries of orders for other contexts, such as the text of an e-mail: read in one statement for any number of orders."""

import json
from itertools import groupby
from typing import NamedTuple
from uuid import UUID

from django.conf import settings

from contexts.orders.interface import OrderLine, OrderRefund, OrderStatus, OrderSummary
from contexts.orders.service.views import make_guest_token
from shop.db.database import PreparedStatement, fetch_rows
from shop.money import Money

# A line of an older release has no currency of its own.
_SELECT_LINES = PreparedStatement("""
    SELECT ordered.id, ordered.number, ordered.status, ordered.email, ordered.user_id, ordered.total, ordered.currency,
           payment.refunds::text, line.sku, line.name, line.quantity, line.unit_price, line.total,
           coalesce(nullif(line.currency, ''), ordered.currency)
    FROM orders_order ordered
    LEFT JOIN orders_orderpayment payment ON payment.order_id = ordered.id
    LEFT JOIN orders_orderline line ON line.order_id = ordered.id
    WHERE ordered.id = ANY(%s)
    ORDER BY ordered.id, line.position""")


class _Row(NamedTuple):
    """A line with its order. An order without lines has one row, in which the line is None."""

    id: UUID
    number: str
    status: str
    email: str
    user_id: UUID | None
    total: int
    currency: str
    refunds: str | None
    sku: str | None
    name: str
    quantity: int
    unit_price: int
    line_total: int
    line_currency: str


def fetch_summaries(order_ids: tuple[UUID, ...]) -> tuple[OrderSummary, ...]:
    """Return summaries of these orders; unknown ids are omitted."""
    rows = map(_Row._make, fetch_rows("orders", _SELECT_LINES, [list(order_ids)]))
    return tuple(_build_summary(list(lines)) for _, lines in groupby(rows, key=lambda row: row.id))


def _build_summary(rows: list[_Row]) -> OrderSummary:
    order = rows[0]
    return OrderSummary(
        id=order.id,
        number=order.number,
        status=OrderStatus(order.status),
        email=order.email,
        user_id=order.user_id,
        lines=tuple(_build_line(row) for row in rows if row.sku is not None),
        total=Money(order.total, order.currency),
        link=_build_link(order),
        refunds=tuple(
            OrderRefund(id=UUID(refund["id"]), amount=Money(refund["amount"], order.currency))
            for refund in json.loads(order.refunds or "[]")
        ),
    )


def _build_line(row: _Row) -> OrderLine:
    return OrderLine(
        sku=str(row.sku),
        name=row.name,
        quantity=row.quantity,
        unit_price=Money(row.unit_price, row.line_currency),
        total=Money(row.line_total, row.line_currency),
    )


def _build_link(order: _Row) -> str:
    """Build the link to an order for its e-mails. With the token in it, the reader of an e-mail sees the order."""
    token = make_guest_token(order.id)
    link: str = settings.ORDER_LINK_TEMPLATE
    return link.format(site=settings.SITE_URL, id=order.id, number=order.number, token=token)
