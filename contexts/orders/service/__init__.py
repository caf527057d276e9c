"""Use cases of orders: carts, orders, and what other contexts may ask."""

from uuid import UUID

from contexts.orders.interface import Orders, OrderSummary
from contexts.orders.service.search import find_order_ids
from contexts.orders.service.summaries import fetch_summaries


class LocalOrders(Orders):
    """The interface of orders, in this process."""

    def summaries(self, *, order_ids: tuple[UUID, ...]) -> tuple[OrderSummary, ...]:
        return fetch_summaries(order_ids)

    def search(self, *, term: str) -> tuple[UUID, ...]:
        return find_order_ids(term)
