"""Event handlers and timers of notifications. Writing a message calls no other context; sending e-mail calls orders."""

from collections.abc import Sequence
from datetime import timedelta

from contexts.notifications.interface import MessageTemplate
from contexts.notifications.service import messages, sending
from contexts.notifications.service.messages import NewMessage, build_order_messages
from contexts.orders.events import (
    OrderCancelled,
    OrderConfirmed,
    OrderLinkRequested,
    OrderPutOnHold,
    OrderRefunded,
    OrderRejected,
)
from contexts.users.events import UserRegistered
from shop.messaging.events import Received, every, on


def write_receipts(received: Sequence[Received[OrderConfirmed]]) -> None:
    messages.write([message for event, _ in received for message in _build_receipt(event)])


@on(OrderConfirmed, ordered=False, many=write_receipts)
def write_receipt(event: OrderConfirmed) -> None:
    """Write the receipt of a confirmed order."""
    messages.write(_build_receipt(event))


def _build_receipt(event: OrderConfirmed) -> list[NewMessage]:
    return build_order_messages(
        MessageTemplate.ORDER_CONFIRMED,
        order_id=event.order_id,
        user_id=event.user_id,
        number=event.number,
        total=event.total,
    )


@on(OrderRejected, ordered=False)
def tell_of_rejection(event: OrderRejected) -> None:
    """Notify the customer, who may have left the shop before the order was rejected.

    A refusal that was the response to the customer's own request causes no message: otherwise declined cards would
    send mails to any address that the request names.
    """
    if event.is_answered:
        return
    messages.write(
        build_order_messages(
            MessageTemplate.ORDER_REJECTED,
            order_id=event.order_id,
            user_id=event.user_id,
            number=event.number,
            reason=event.reason,
        )
    )


@on(OrderCancelled, ordered=False)
def tell_of_cancellation(event: OrderCancelled) -> None:
    """Notify the customer that the order is cancelled, whether the customer or staff requested it."""
    messages.write(
        build_order_messages(
            MessageTemplate.ORDER_CANCELLED, order_id=event.order_id, user_id=event.user_id, number=event.number
        )
    )


@on(OrderPutOnHold, ordered=False)
def ask_for_another_payment(event: OrderPutOnHold) -> None:
    """Ask the customer for another payment, once per order, however often its capture is refused."""
    messages.write(
        build_order_messages(
            MessageTemplate.ORDER_PUT_ON_HOLD, order_id=event.order_id, user_id=event.user_id, number=event.number
        )
    )


@on(OrderLinkRequested, ordered=False)
def send_order_link(event: OrderLinkRequested) -> None:
    """Send the link to an order once more."""
    if event.order_id:
        messages.write_link_message(event.order_id)


@on(OrderRefunded, ordered=False)
def tell_of_refund(event: OrderRefunded) -> None:
    """Notify the customer of each refund. The cancellation of an order has a message of its own."""
    messages.write(
        build_order_messages(
            MessageTemplate.ORDER_REFUNDED,
            order_id=event.order_id,
            user_id=event.user_id,
            number=event.number,
            occurrence=str(event.refund_id),
            amount=event.amount,
        )
    )


@on(UserRegistered, ordered=False)
def welcome_in_the_app(event: UserRegistered) -> None:
    """Write the first message of a new user's inbox."""
    messages.write_welcome_message(event.user_id)


@every(timedelta(seconds=0.5))
def send_waiting_messages() -> None:
    """Send the e-mails that are due, including those left by an outage or a dead process."""
    sending.send_due()
