"""Decide whether an order can be cancelled, by its customer and by staff.

An order whose payment is not taken (pending, on hold) can be cancelled by its customer at any time, a confirmed one within
CANCEL_WINDOW after it was placed. Staff can cancel a confirmed order later, too. Fulfilment does not exist yet: once it
does, an order with a fulfilment is excluded here, for customer and staff.
"""

from datetime import timedelta

from django.conf import settings
from django.db.models import Q
from django.db.models.functions import Now

from contexts.orders.interface import STATUS_WORDS, OrderStatus
from contexts.orders.models import Order
from shop import clock
from shop.errors import Conflict, Forbidden


class NotCancellable(Conflict):
    """This order is {present} and can no longer be cancelled."""

    words = STATUS_WORDS
    present: str


class RefundNotAllowed(Forbidden):
    """To cancel this order refunds its payment. You need the permission payments.refund for it."""


def build_cancellable_condition(*, is_staff: bool, can_refund: bool = True) -> Q:
    """Return the condition on an order that can be cancelled now, by the clock of the database.

    can_refund: False for staff without the right to give money back, who cancel only what is not confirmed, and so not paid.
    """
    condition = Q(status__in=Order.CANCELLABLE_STATUSES)
    if is_staff:
        return condition if can_refund else condition & ~Q(status=OrderStatus.CONFIRMED)
    is_in_window = Q(created_at__gt=Now() - timedelta(seconds=settings.CANCEL_WINDOW))
    return condition & (~Q(status=OrderStatus.CONFIRMED) | is_in_window)


def can_customer_cancel(order: Order) -> bool:
    """Return whether the customer can cancel an order now, as `build_cancellable_condition` decides. For display."""
    if order.status not in Order.CANCELLABLE_STATUSES or order.cancel_requested_at is not None:
        return False
    window = timedelta(seconds=settings.CANCEL_WINDOW)
    return order.status != OrderStatus.CONFIRMED or clock.now() < order.created_at + window
