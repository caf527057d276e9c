"""Event handlers and timers of inventory."""

from datetime import timedelta

from contexts.inventory.service import reservations
from contexts.orders.events import OrderConfirmed
from shop.messaging.events import every, on


@on(OrderConfirmed)
def commit_reservation(event: OrderConfirmed) -> None:
    reservations.commit(event.order_id)


@every(timedelta(seconds=1))
def announce_due_reservations() -> None:
    reservations.publish_due_reservations()
