"""Order use cases: place, resume, cancel, show.

Only the holder of an order's lease changes its step or status. Every other request, event or timer tries to take the
lease and, where it is held, asks its holder to check the order again.
"""

from typing import NamedTuple
from uuid import UUID

from django.db import IntegrityError
from django.db.models import F, QuerySet
from django.db.models.functions import Now

from contexts.orders.checkout import holds, runner
from contexts.orders.checkout.persistence import release_lease, reload_cancel_request
from contexts.orders.interface import OrderStatus
from contexts.orders.models import Cart, Order, Step
from contexts.orders.service import carts
from contexts.orders.service.cancellation import NotCancellable, RefundNotAllowed, build_cancellable_condition
from contexts.orders.service.carts import CartClosed
from contexts.orders.service.placing import (
    LARGE_ORDER_LINES,
    CartOrderBeingUndone,
    NewOrder,
    OrderRequest,
    build_order,
    insert_order,
)
from contexts.orders.service.views import OrderView, add_guest_token, build_outcome, is_guest_token, to_view
from contexts.payments.interface import Declined, PaymentStatus
from shop.audit import audit
from shop.db import leases
from shop.db.database import NoRowChanged, transaction
from shop.db.leases import LeaseLost, keep_lease_alive
from shop.errors import Conflict, NotFound, Unauthenticated
from shop.http import idempotency
from shop.http.idempotency import Key, Outcome
from shop.http.rate_limits import Limiter, count_failure
from shop.security_events import DIRECT_REFERENCE

DECLINED_PAYMENTS, LARGE_ORDERS = "declined_payments", "large_orders"  # the rate limits


class OrderNotFound(NotFound):
    """There is no such order."""


class CartChanged(Conflict):
    """The cart was changed while the order was being placed."""


class Progress(NamedTuple):
    """An order after its checkout was run, and the outcome that is stored with its key, if it is final."""

    order: Order
    outcome: Outcome | None


def place(request: OrderRequest, *, user_id: UUID | None, key: Key, limiter: Limiter) -> Outcome | OrderView:
    """Place an order, once per key, and run its checkout until it is final or has to wait.

    Return the stored outcome, or the order while it is pending. A repeat returns the same outcome, or resumes the
    checkout, and is not counted by `limiter`. Nothing is stored for a request that is not valid. Raises what
    `build_order` raises, CartClosed, CartChanged, TooManyRequests, IdempotencyKeyReused, IdempotencyKeyInFlight;
    Unavailable only while there is no order yet.
    """
    known = idempotency.find("orders", key)
    if known is None:
        try:
            return _respond(_place_limited(request, user_id, key, limiter), user_id)
        except (CartClosed, CartOrderBeingUndone):
            known = idempotency.find("orders", key)
            if known is None:  # the order of this cart is not that of a parallel request with this key
                raise
    if known.outcome:
        return _complete(known.outcome, known.resource, user_id)
    if known.resource is None or is_busy(known.resource):
        raise idempotency.IdempotencyKeyInFlight
    return _respond(_resume(known.resource, key), user_id)


def _respond(progress: Progress, user_id: UUID | None) -> Outcome | OrderView:
    """Return the stored outcome of a request, or the order while it is pending."""
    return _complete(progress.outcome, progress.order.id, user_id) if progress.outcome else to_view(progress.order)


def _complete(outcome: Outcome, order_id: UUID | None, user_id: UUID | None) -> Outcome:
    """Return a stored outcome as it is sent to the caller: to a guest with the token of the order."""
    return add_guest_token(outcome, order_id) if order_id and user_id is None else outcome


def _place_limited(request: OrderRequest, user_id: UUID | None, key: Key, limiter: Limiter) -> Progress:
    """Place an order that the rate limits allow. Count it as a declined payment before it is one.

    Parallel attempts with many cards then reach the provider no more often than the limit allows. A payment that is declined
    after the response is counted by `_resume`.
    """
    limiter.count()
    is_declined = False
    try:
        new = build_order(request, user_id)
        if len(new.lines) > LARGE_ORDER_LINES:
            limiter.count_also(LARGE_ORDERS)
        new.order.attempt_counters = limiter.list_failure_subjects() or None
        new.order.hold_keys = holds.build_keys(limiter.keys, request.shipping_address)
        progress = _place_new(new, key)
        is_declined = progress.order is new.order and _is_declined(new.order)
        return progress
    finally:
        if is_declined:
            limiter.fail()
        else:
            limiter.release()


def _is_declined(order: Order) -> bool:
    """Return whether an order was rejected because its provider declined the payment."""
    if order.refusal is None:
        return False
    return order.refusal["code"] == Declined.code or order.payment_status == PaymentStatus.DECLINED


def _place_new(new: NewOrder, key: Key) -> Progress:
    """Store a new order together with its key, then run its checkout unless it is already rejected."""
    try:
        with transaction("orders"):
            idempotency.record("orders", key, resource=new.order.id)
            _claim_cart(new)
            insert_order(new)
            outcome = _store_outcome(new.order, key)
    except CartChanged:
        _assert_cart_open(new.order)
        raise
    except IntegrityError as error:
        if "one_live_order_per_cart" not in str(error):
            raise
        _assert_cart_open(new.order)
        raise CartChanged from None
    new.order.is_answered_by_request = True
    return Progress(new.order, outcome) if outcome else _advance_checkout(new.order, key)


def _assert_cart_open(order: Order) -> None:
    """Raise CartClosed if the cart was ordered while this order was being placed."""
    if order.cart_id:
        carts.assert_open(order.cart_id, order.user_id)


def _claim_cart(new: NewOrder) -> None:
    """Increment the version of the order's cart. Raises CartChanged if it is not the one that the items were read from."""
    if new.order.cart_id is None:
        return
    cart = Cart.objects.filter(pk=new.order.cart_id, version=new.cart_version)
    if not cart.update(version=F("version") + 1):
        raise CartChanged


def _advance_checkout(order: Order, key: Key | None = None) -> Progress:
    """Run a checkout. If another worker takes the lease over, return the order as that one has left it."""
    try:
        return Progress(order, run_checkout(order, key))
    except LeaseLost:
        order = get(order.id)
        return Progress(order, _store_outcome(order, key))


def run_checkout(order: Order, key: Key | None = None) -> Outcome | None:
    """Run the checkout of an order whose lease is held until it is final or has to wait, then release the lease.

    With the key of the request that placed the order, a final outcome is stored in the transaction that releases the
    lease, and returned: an outcome whose transaction was rolled back is never given. Raises LeaseLost.
    """
    with keep_lease_alive(order, "orders"):
        while True:
            pause = runner.run_steps(order)
            try:
                with release_lease(order, pause):
                    return _store_outcome(order, key)
            except NoRowChanged:
                reload_cancel_request(order)


def _store_outcome(order: Order, key: Key | None) -> Outcome | None:
    """Store the outcome of an order with its key, unless it is pending. Return what is stored: the first outcome stays."""
    if key is None:
        return None
    outcome = build_outcome(order)
    return idempotency.store_outcome("orders", key, outcome) if outcome else None


def resume(order_id: UUID) -> Order:
    """Run the checkout of an order, or ask the worker that holds its lease to check it again. Raises OrderNotFound."""
    return _resume(order_id).order


def resume_for_staff(order_id: UUID, *, actor: str) -> Order:
    """Run the checkout of an order on request of staff, and record who asked for it. Raises OrderNotFound."""
    order = resume(order_id)
    with transaction("orders"):
        audit("orders", actor=actor, action="resume checkout", object_type="order", object_id=order_id)
    return order


def _resume(order_id: UUID, key: Key | None = None) -> Progress:
    try:
        order = leases.acquire_lease(Order, "orders", order_id)
    except Order.DoesNotExist:
        raise OrderNotFound from None
    if order is None:
        order = get(order_id)
        return Progress(order, _store_outcome(order, key))
    order.is_answered_by_request = key is not None
    subjects = order.attempt_counters  # deleted once the order is confirmed or has ended
    was_on_hold = order.status == OrderStatus.ON_HOLD
    progress = _advance_checkout(order, key)
    if subjects and progress.order is order and _take_decline(order, was_on_hold=was_on_hold):
        count_failure("orders", DECLINED_PAYMENTS, subjects)
    return progress


def _take_decline(order: Order, *, was_on_hold: bool) -> bool:
    """Return whether this run of the checkout found a payment declined that has not been counted.

    An order on hold stays so when another card is declined. Deleting what the decline is counted by makes it count once.
    """
    if not was_on_hold or order.payment_status not in (PaymentStatus.DECLINED, PaymentStatus.CAPTURE_REFUSED):
        return _is_declined(order)
    counted = Order.objects.filter(pk=order.pk, attempt_counters__isnull=False)
    return counted.update(attempt_counters=None) > 0


def resume_due() -> None:
    """Resume checkouts that are due: those that waited, and those of a worker that died."""
    leases.process_due_rows(Order, "orders", resume)


def request_cancel(order_id: UUID, *, actor: str = "", can_refund: bool = True) -> Order:
    """Request the cancellation of an order and carry it out unless another worker holds the lease.

    A repeat changes nothing. `actor` is the member of staff who requests it, empty for the customer, who can cancel a
    confirmed order within CANCEL_WINDOW only. `can_refund`: whether staff may refund a confirmed order.
    Raises OrderNotFound, NotCancellable, RefundNotAllowed.
    """
    record_cancel_request(order_id, actor=actor, can_refund=can_refund)
    order = get(order_id)
    if order.cancel_requested_at is None and order.status == OrderStatus.CONFIRMED and not can_refund:
        raise RefundNotAllowed
    if order.cancel_requested_at is None:
        raise NotCancellable(present=order.status)
    return order if order.step == Step.CLOSED else resume(order_id)


def record_cancel_request(order_id: UUID, *, actor: str = "", can_refund: bool = True) -> None:
    """Record that an order is to be cancelled, if it still can be. The lease holder reads it, even if this process dies."""
    with transaction("orders"):
        is_cancellable = build_cancellable_condition(is_staff=bool(actor), can_refund=can_refund)
        cancellable = Order.objects.filter(is_cancellable, pk=order_id, cancel_requested_at=None)
        is_new = cancellable.update(cancel_requested_at=Now(), due_at=Now(), woken=True)
        if is_new and actor:
            audit("orders", actor=actor, action="cancel", object_type="order", object_id=order_id)


def is_busy(order_id: UUID) -> bool:
    """Return whether a worker holds the lease of an order."""
    return Order.objects.filter(pk=order_id, lease_until__gt=Now()).exists()


def get(order_id: UUID) -> Order:
    """Return an order with its lines. Raises OrderNotFound."""
    order = Order.objects.filter(pk=order_id).select_related("payment_summary").prefetch_related("lines").first()
    if order is None:
        raise OrderNotFound
    return order


def get_owned(order_id: UUID, *, user_id: UUID | None, token: str) -> Order:
    """Return an order to its customer, or to a guest with its token. Raises OrderNotFound, also for any other caller."""
    order = get(order_id)
    is_owner = user_id is not None and order.user_id == user_id
    if is_owner or (token and is_guest_token(token, order_id)):
        return order
    raise OrderNotFound().because("other_owner", DIRECT_REFERENCE)


def list_for_user(user_id: UUID | None) -> QuerySet[Order]:
    """Return the orders of a customer. Raises Unauthenticated for a guest."""
    if user_id is None:
        raise Unauthenticated
    return Order.objects.filter(user_id=user_id).select_related("payment_summary").prefetch_related("lines")
