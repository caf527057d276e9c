"""What orders announces."""

from uuid import UUID

from shop.events import Event
from shop.money import Money


class OrderEvent(Event, stream="orders.order:{order_id}"):
    """Something happened to an order. `user_id` is empty for a guest's."""

    order_id: UUID
    number: str
    user_id: UUID | None


class OrderPlaced(OrderEvent, name="orders.order_placed", version=1):
    """An order exists; stock and money are still to be had."""

    total: Money


class OrderConfirmed(OrderEvent, name="orders.order_confirmed", version=1):
    """Stock is the customer's and the money is authorized."""

    total: Money


class OrderRejected(OrderEvent, name="orders.order_rejected", version=1):
    """The order came to nothing: out of stock, declined or expired."""

    reason: str


class OrderCancelled(OrderEvent, name="orders.order_cancelled", version=1):
    """The order was called off; stock and money go back."""

    reason: str


class OrderPaid(OrderEvent, name="orders.order_paid", version=1):
    """The money was captured: the order may be shipped."""

    total: Money


class OrderPutOnHold(OrderEvent, name="orders.order_put_on_hold", version=1):
    """The money could not be captured. The stock stays; the customer is asked, staff see it."""

    reason: str
