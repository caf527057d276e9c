"""Use cases of orders: carts, orders, and what other contexts may ask."""

from uuid import UUID

from contexts.orders.interface import Orders, OrderSummary
from contexts.orders.models import Order
from contexts.orders.service.search import find_order_ids
from contexts.orders.service.views import to_summary


class LocalOrders(Orders):
    """The interface of orders, in this process."""

    def summaries(self, *, order_ids: tuple[UUID, ...]) -> tuple[OrderSummary, ...]:
        orders = Order.objects.filter(pk__in=order_ids).select_related("payment_summary").prefetch_related("lines")
        return tuple(to_summary(order) for order in orders)

    def search(self, *, term: str) -> tuple[UUID, ...]:
        return find_order_ids(term)
