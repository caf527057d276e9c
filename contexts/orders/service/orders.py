"""Order use cases: place, resume, cancel, show.

Only the holder of an order's lease changes its step or status. Every other request, event or timer tries to take the
lease and, where it is held, asks its holder to check the order again.
"""

from typing import NamedTuple
from uuid import UUID

from django.db import IntegrityError
from django.db.models import QuerySet
from django.db.models.functions import Now

from contexts.orders.checkout import holds, runner
from contexts.orders.checkout.persistence import release_lease, reload_cancel_request
from contexts.orders.interface import OrderStatus
from contexts.orders.models import Order, Step
from contexts.orders.service import cart_rows, carts
from contexts.orders.service.cancellation import NotCancellable, RefundNotAllowed, build_cancellable_condition
from contexts.orders.service.placing import (
    LARGE_ORDER_LINES,
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
from shop.errors import Conflict, DomainError, NotFound, TooManyRequests, Unauthenticated
from shop.http import idempotency
from shop.http.idempotency import Key, Outcome, StoredOutcome
from shop.http.rate_limits import Limiter, count_failure
from shop.security_events import DIRECT_REFERENCE

DECLINED_PAYMENTS, LARGE_ORDERS = "declined_payments", "large_orders"  # the rate limits


class OrderNotFound(NotFound):
    """There is no such order."""


class CartChanged(Conflict):
    """The cart was changed while the order was being placed."""


class _Repeated(Exception):
    """The key of a request is stored already, with the outcome of the first request if there is one."""

    def __init__(self, known: StoredOutcome) -> None:
        super().__init__(known)
        self.known = known


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
    try:
        return _respond(_place_limited(request, user_id, key, limiter), user_id)
    except _Repeated as repeated:
        known = repeated.known
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
    is_declined = False
    try:
        placed = _build_and_insert(request, user_id, key, limiter)
        placed.order.is_answered_by_request = True
        progress = placed if placed.outcome else _advance_checkout(placed.order, key)
        is_declined = progress.order is placed.order and _is_declined(placed.order)
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


def _build_and_insert(request: OrderRequest, user_id: UUID | None, key: Key, limiter: Limiter) -> Progress:
    """Store a new order together with its key; with its outcome, too, if it is already rejected.

    Raises _Repeated if the key is stored already, whatever a repeat would be refused for now.
    """
    try:
        limiter.count(key)
        new = build_order(request, user_id)
        if len(new.lines) > LARGE_ORDER_LINES:
            limiter.count_also(LARGE_ORDERS, key)
        new.order.attempt_counters = limiter.list_failure_subjects() or None
        new.order.hold_keys = holds.build_keys(limiter.keys, request.shipping_address)
        return Progress(new.order, _insert(new, key))
    except TooManyRequests:  # the request was counted, or refused, because its key is not stored
        raise
    except DomainError as refusal:
        if known := idempotency.find("orders", key):
            raise _Repeated(known) from refusal
        raise


def _insert(new: NewOrder, key: Key) -> Outcome | None:
    """Insert the key, the order, its lines and its events with one message; return the outcome of a rejected order."""
    try:
        with transaction("orders"):
            idempotency.record_or_abort("orders", key, resource=new.order.id)
            if new.order.cart_id:
                cart_rows.claim_or_abort(new.order.cart_id, new.cart_version)
            insert_order(new)
            return _store_outcome(new.order, key)
    except NoRowChanged as conflict:
        if conflict.args == (idempotency.KEY_IS_STORED,):
            raise idempotency.IdempotencyKeyInFlight from None
    except IntegrityError as error:
        if "one_live_order_per_cart" not in str(error):
            raise
    if new.order.cart_id:
        carts.assert_open(new.order.cart_id, new.order.user_id)
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
    is_stored = False  # by another worker, which had the lease for a while
    with keep_lease_alive(order, "orders"):
        while True:
            pause = runner.run_steps(order)
            try:
                with release_lease(order, pause):
                    outcome = build_outcome(order) if key else None
                    if key and outcome and not is_stored:
                        idempotency.store_outcome_or_abort("orders", key, outcome)
                return idempotency.get_outcome("orders", key) if key and is_stored else outcome
            except NoRowChanged as conflict:
                if conflict.args == (idempotency.HAS_OUTCOME,):
                    is_stored = True
                else:
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
