"""What inventory does when something happens elsewhere, and as time goes by."""

from datetime import timedelta

from contexts.inventory.service import reservations
from contexts.orders.events import OrderConfirmed
from shop.events import every, on


@on(OrderConfirmed)
def commit_reservation(event: OrderConfirmed) -> None:
    reservations.commit(event.order_id)


@every(timedelta(seconds=1))
def announce_due_reservations() -> None:
    reservations.announce_due()
