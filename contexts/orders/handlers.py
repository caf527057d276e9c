"""What orders does when something happens elsewhere, and as time goes by. Nobody brings data: the checkout asks again."""

from datetime import timedelta

from contexts.inventory.events import ReservationDue
from contexts.inventory.interface import inventory
from contexts.orders.service import checkout
from contexts.payments.events import PaymentResolved
from shop.events import every, on


@on(PaymentResolved, atomic=False, ordered=False)
def resume_checkout(event: PaymentResolved) -> None:
    """Look at the payment again. One that came with no order of ours is payments' own affair."""
    try:
        checkout.resume(event.order_id)
    except checkout.OrderNotFound:
        return


@on(ReservationDue, atomic=False, ordered=False)
def decide_on_due_reservation(event: ReservationDue) -> None:
    """Confirm, or give up money first and stock second. Stock held for an order that does not exist is released."""
    try:
        checkout.resume(event.order_id)
    except checkout.OrderNotFound:
        inventory.release(order_id=event.order_id)


@every(timedelta(seconds=0.5))
def carry_on_due_checkouts() -> None:
    """What waits for its time, or was left behind by a process that died."""
    checkout.carry_on_due()
