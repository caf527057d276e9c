"""Pay an order again, or in another way, while it is pending or on hold."""

from uuid import UUID

from django.conf import settings

from contexts.orders.interface import STATUS_WORDS, OrderStatus
from contexts.orders.models import Order
from contexts.orders.service import orders
from contexts.orders.service.placing import PaymentMethod, UnknownProvider
from contexts.payments import interface
from contexts.payments.interface import Declined, Payment, PaymentStatus, payments
from shop.db.database import transaction
from shop.errors import Conflict
from shop.http import idempotency
from shop.http.idempotency import Key
from shop.http.rate_limits import Limiter
from shop.http.reading import RequestBody
from shop.ids import uuid7

PAYABLE_STATUSES = (OrderStatus.PENDING, OrderStatus.ON_HOLD)
ENDED_STATUSES = (OrderStatus.CANCELLED, OrderStatus.REJECTED)
DECLINED_STATUSES = (PaymentStatus.DECLINED, PaymentStatus.CAPTURE_REFUSED)
WAITING_STATUSES = (PaymentStatus.PROCESSING, PaymentStatus.UNKNOWN, PaymentStatus.REQUIRES_ACTION)


class PaymentRequest(RequestBody, kw_only=True):
    """Another way to pay an order."""

    payment_method: PaymentMethod


class NotPayable(Conflict):
    """This order is {present} and cannot be paid in another way."""

    words = STATUS_WORDS
    present: str


def pay(order_id: UUID, request: PaymentRequest, *, key: Key, limiter: Limiter) -> Order:
    """Replace the payment of an order by another attempt, and run its checkout. A repeat starts no other attempt.

    The last attempt is cancelled at its provider first. A decline ends a pending order; an order on hold stays so, and can
    be paid again until it expires. Declines count for the rate limit of declined payments.
    Raises OrderNotFound, NotPayable, UnknownProvider, PaymentProcessing, Declined, TooManyRequests, IdempotencyKeyReused,
    IdempotencyKeyInFlight.
    """
    if request.payment_method.provider not in settings.PAYMENT_PROVIDERS:
        raise UnknownProvider(provider=request.payment_method.provider).at("/payment_method/provider")
    known = idempotency.find("orders", key)
    attempt_id = known.resource if known else None
    is_new = attempt_id is None
    if is_new:
        limiter.count()
    is_declined = False
    try:
        attempt_id = attempt_id or _record(order_id, request, key)
        payment = _start(order_id, request, attempt_id)
        is_declined = payment.status in DECLINED_STATUSES
        _set_attempt_counters(order_id, payment, limiter)
        order = orders.resume(order_id)
    finally:
        if is_declined and is_new:
            limiter.fail()
        else:
            limiter.release()
    if is_declined:
        raise Declined(reason=payment.reason or payment.status)
    order = orders.get(order.id)
    if order.status in ENDED_STATUSES:  # it was cancelled, or has expired, while it was paid: the money goes back
        raise NotPayable(present=order.status)
    return order


def _set_attempt_counters(order_id: UUID, payment: Payment, limiter: Limiter) -> None:
    """Store what a decline is counted by if it comes later. One that is in the response is counted by the request."""
    subjects = limiter.list_failure_subjects() if payment.status in WAITING_STATUSES else {}
    Order.objects.filter(pk=order_id, status__in=PAYABLE_STATUSES).update(attempt_counters=subjects or None)


def _record(order_id: UUID, request: PaymentRequest, key: Key) -> UUID:
    """Store the key with the order's new provider, before payments is asked: a crash in between is made good by a repeat.

    Returns the id of the attempt, which is stored with the key, so that payments makes it once.
    """
    attempt_id = uuid7()
    with transaction("orders"):
        idempotency.record("orders", key, resource=attempt_id)  # first: a repeat is no attempt to pay a paid order
        payable = Order.objects.filter(pk=order_id, status__in=PAYABLE_STATUSES, cancel_requested_at=None)
        if not payable.update(payment_provider=request.payment_method.provider):
            raise NotPayable(present=orders.get(order_id).status)
    return attempt_id


def _start(order_id: UUID, request: PaymentRequest, attempt_id: UUID) -> Payment:
    method = interface.PaymentMethod(provider=request.payment_method.provider, token=request.payment_method.token)
    return payments.pay_again(order_id=order_id, attempt_id=attempt_id, method=method)
