"""Use cases of orders."""

from contexts.orders.interface import Orders


class LocalOrders(Orders):
    """The use cases, in this process."""
