"""What notifications does when something happens elsewhere, and as time goes by. Writing asks nobody; sending does."""

from datetime import timedelta

from contexts.notifications.service import messages, sending
from contexts.orders.events import OrderCancelled, OrderConfirmed, OrderPutOnHold, OrderRejected
from contexts.users.events import UserRegistered
from shop.events import every, on


@on(OrderConfirmed, ordered=False)
def write_receipt(event: OrderConfirmed) -> None:
    """The customer's receipt."""
    messages.about_order(
        "order_confirmed", order_id=event.order_id, user_id=event.user_id, number=event.number, total=event.total
    )


@on(OrderRejected, ordered=False)
def tell_of_rejection(event: OrderRejected) -> None:
    """The customer may have left before the order came to nothing."""
    messages.about_order(
        "order_rejected", order_id=event.order_id, user_id=event.user_id, number=event.number, reason=event.reason
    )


@on(OrderCancelled, ordered=False)
def tell_of_cancellation(event: OrderCancelled) -> None:
    """Whoever called it off, the customer hears that it is done."""
    messages.about_order("order_cancelled", order_id=event.order_id, user_id=event.user_id, number=event.number)


@on(OrderPutOnHold, ordered=False)
def ask_for_another_payment(event: OrderPutOnHold) -> None:
    """Once for an order, however often its capture is refused."""
    messages.about_order("order_put_on_hold", order_id=event.order_id, user_id=event.user_id, number=event.number)


@on(UserRegistered, ordered=False)
def welcome_in_the_app(event: UserRegistered) -> None:
    """The first message of a new inbox."""
    messages.welcome(event.user_id)


@every(timedelta(seconds=0.5))
def send_waiting_messages() -> None:
    """E-mails that are due, those that an outage or a dead process left behind among them."""
    sending.send_due()
