"""Event handlers and timers of inventory."""

from collections.abc import Sequence
from datetime import timedelta

from contexts.inventory.service import reservations
from contexts.orders.events import OrderConfirmed
from shop.messaging.events import Received, every, on


def commit_reservations(received: Sequence[Received[OrderConfirmed]]) -> None:
    reservations.commit_many({event.order_id: trace for event, trace in received})


@on(OrderConfirmed, many=commit_reservations)
def commit_reservation(event: OrderConfirmed) -> None:
    reservations.commit(event.order_id)


@every(timedelta(seconds=1))
def announce_due_reservations() -> None:
    reservations.publish_due_reservations()
