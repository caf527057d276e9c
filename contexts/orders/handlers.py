"""Handlers of orders. An event brings no data to the checkout: its steps read the present state again."""

from datetime import timedelta

from contexts.inventory.events import ReservationDue
from contexts.inventory.interface import inventory
from contexts.orders.service import orders
from contexts.payments.events import PaymentResolved
from shop.messaging.events import every, on


@on(PaymentResolved, atomic=False, ordered=False)
def resume_checkout(event: PaymentResolved) -> None:
    """Resume the checkout of an order whose payment was resolved. Ignore payments of unknown orders."""
    try:
        orders.resume(event.order_id)
    except orders.OrderNotFound:
        return


@on(ReservationDue, atomic=False, ordered=False)
def decide_on_due_reservation(event: ReservationDue) -> None:
    """Resume the checkout, which confirms the order or undoes it. Release stock that is held for an unknown order."""
    try:
        orders.resume(event.order_id)
    except orders.OrderNotFound:
        inventory.release(order_id=event.order_id)


@every(timedelta(seconds=0.5))
def carry_on_due_checkouts() -> None:
    """Resume checkouts that are due, among them those of a process that died."""
    orders.resume_due()
