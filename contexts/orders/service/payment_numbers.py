"""Tell payments the numbers of orders that were placed before payments knew them, so that staff find their payments."""

from uuid import UUID

from contexts.orders.models import Order
from contexts.payments.interface import OrderNumber, payments


def send_missing() -> None:
    """Send the numbers that payments does not have, in batches. Does nothing once all are known."""
    after: UUID | None = None
    while missing := payments.without_number(after=after):
        known = Order.objects.filter(id__in=missing).values_list("id", "number")
        if numbers := tuple(OrderNumber(order_id=order_id, number=number) for order_id, number in known):
            payments.set_numbers(numbers=numbers)
        after = missing[-1]
