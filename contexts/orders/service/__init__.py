"""Use cases of orders: what other contexts may ask, carts, and the way of an order."""

from uuid import UUID

from contexts.orders.interface import OrderLine, Orders, OrderSummary
from contexts.orders.models import Order
from contexts.orders.models import OrderLine as Line
from shop.money import Money


class LocalOrders(Orders):
    """The interface of orders, in this process."""

    def summaries(self, *, order_ids: tuple[UUID, ...]) -> tuple[OrderSummary, ...]:
        found = Order.objects.filter(pk__in=order_ids).prefetch_related("lines")
        return tuple(_to_summary(order) for order in found)


def _to_summary(order: Order) -> OrderSummary:
    return OrderSummary(
        id=order.id,
        number=order.number,
        status=order.status,
        email=order.email,
        user_id=order.user_id,
        lines=tuple(to_line(line, order.currency) for line in order.lines.all()),
        total=Money(order.total, order.currency),
    )


def to_line(line: Line, currency: str) -> OrderLine:
    """A line's row as others see it."""
    return OrderLine(
        sku=line.sku,
        name=line.name,
        quantity=line.quantity,
        unit_price=Money(line.unit_price, currency),
        total=Money(line.total, currency),
    )
