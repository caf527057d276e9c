"""Events of orders."""

from uuid import UUID

from shop.messaging.events import Event
from shop.money import Money


class OrderEvent(Event, stream="orders.order:{order_id}"):
    """The base of all events of an order. `user_id` is empty for a guest's order."""

    order_id: UUID
    number: str
    user_id: UUID | None


class OrderPlaced(OrderEvent, name="orders.order_placed", version=1):
    """An order was stored; neither stock nor money is reserved yet."""

    total: Money


class OrderConfirmed(OrderEvent, name="orders.order_confirmed", version=1):
    """The order is confirmed: its stock is reserved and its payment is authorized."""

    total: Money


class OrderRejected(OrderEvent, name="orders.order_rejected", version=1):
    """The order was rejected: out of stock, declined or expired.

    is_answered: the customer's own request got the refusal as its response.
    """

    reason: str
    is_answered: bool = False


class OrderCancelled(OrderEvent, name="orders.order_cancelled", version=1):
    """The order was cancelled; payment and stock are returned."""

    reason: str


class OrderPaid(OrderEvent, name="orders.order_paid", version=1):
    """The payment was captured: the order may be shipped."""

    total: Money


class OrderPaymentEvent(Event, stream="orders.payment:{order_id}"):
    """Something happened to the payment of an order after its checkout. `user_id` is empty for a guest's order."""

    order_id: UUID
    number: str
    user_id: UUID | None


class OrderRefunded(OrderPaymentEvent, name="orders.order_refunded", version=1):
    """Money of an order was refunded, other than by its cancellation. `amount` is the amount of this refund."""

    refund_id: UUID
    amount: Money


class OrderPutOnHold(OrderEvent, name="orders.order_put_on_hold", version=1):
    """The payment could not be captured. The stock stays reserved until the customer or staff act."""

    reason: str


class OrderLinkRequested(Event, stream="orders.order_link:{request_id}", name="orders.order_link_requested", version=1):
    """A guest asked for the link to an order by its number and e-mail address.

    order_id: empty if there is no such order. The event is published all the same, so that the request takes the same
    work and time.
    """

    request_id: UUID
    order_id: UUID | None
