"""Run the steps of a checkout while the lease of its order is held.

    reserving → authorizing → confirming → capturing → done
    undo_money → undo_stock → closed                               money first, stock second

The row names a step before the step calls another context, and undo begins with that step. A step between two
idempotent calls is stored only where the checkout has to wait: repeating it from the last stored step gives the same
result. Therefore a cancel or an expiry undoes everything, whatever step is stored: payments and inventory leave a
tombstone where there is nothing to undo.

    outcome                         status      step          POST orders answers      event
    authorized                      confirmed   capturing     201                      OrderConfirmed
    captured (right after that)     confirmed   done          (201 was given before)   OrderPaid
    customer or provider must act   pending     authorizing   202                      –
    not enough stock                rejected    closed        409 out_of_stock         OrderRejected (at placing, if the
                                                                                       quote shows it already)
    declined                        rejected    closed        402 declined             OrderRejected
    not paid in time                rejected    closed        409 expired              OrderRejected
    too much is held unpaid         rejected    closed        409 hold_limit_reached   OrderRejected
    capture definitely refused      on_hold     capturing     (201 was given before)   OrderPutOnHold
    cancel requested                cancelled   closed        409 order_was_cancelled  OrderCancelled
                                                              (201 if given before)
"""

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple, Protocol

from contexts.orders.checkout import holds
from contexts.orders.checkout.endings import cancel, reject
from contexts.orders.checkout.pauses import Pause, schedule_retry
from contexts.orders.checkout.steps import authorize, capture, confirm, reserve
from contexts.orders.interface import OrderStatus
from contexts.orders.models import Order, Step
from shop.errors import Closed, DomainError, Unavailable

Action = Callable[[Order, str], Pause | None]


class StepModule(Protocol):
    """The names that each module of `checkout.steps` defines."""

    REFUSALS: tuple[type[DomainError], ...]  # definite refusals of `do`, for `on_refused`

    @property
    def do(self) -> Action: ...

    @property
    def undo(self) -> Action | None: ...

    @property
    def on_refused(self) -> Callable[[Order, DomainError, str], None]: ...


class CheckoutStep(NamedTuple):
    """A step, the name that the row stores while it runs, and the name while it is undone."""

    module: StepModule
    name: Step
    undo_name: Step | None


# The order of the steps. A cancel or an expiry undoes them from the last to the first.
CHECKOUT = (
    CheckoutStep(reserve, Step.RESERVING, Step.UNDO_STOCK),
    CheckoutStep(authorize, Step.AUTHORIZING, Step.UNDO_MONEY),
    CheckoutStep(confirm, Step.CONFIRMING, None),
    CheckoutStep(capture, Step.CAPTURING, Step.UNDO_MONEY),
)
FORWARD = (*(step.name for step in CHECKOUT), Step.DONE)
BACKWARD = (*dict.fromkeys(step.undo_name for step in reversed(CHECKOUT) if step.undo_name), Step.CLOSED)
NEXT: dict[str, Step] = {name: following for row in (FORWARD, BACKWARD) for name, following in pairwise(row)}
STEPS: dict[str, CheckoutStep] = {step.name: step for step in CHECKOUT}
UNDOS: dict[str, Action] = {
    step.undo_name: step.module.undo for step in CHECKOUT if step.undo_name and step.module.undo
}
UNDO_EVERYTHING = BACKWARD[0]


def run_steps(order: Order) -> Pause:
    """Run steps until the checkout is final or a step has to wait. The lease is still held then. Raises LeaseLost.

    An order that would wait with more stock than its customer may hold is rejected.
    """
    while True:
        pause = _run_until_pause(order)
        if not holds.is_counted(order):
            return pause
        if holds.count(order):
            order.hold_keys = None
            return pause
        reject(order, holds.HoldLimitReached(), undo_step=UNDO_EVERYTHING)


def _run_until_pause(order: Order) -> Pause:
    try:
        while True:
            _compensate_if_cancelled_or_expired(order)
            if order.is_final:
                return Pause()
            if pause := _run_step(order):
                return pause
            order.tries = 0
    except Unavailable as error:
        return schedule_retry(order, str(error))


def _run_step(order: Order) -> Pause | None:
    """Do, or undo, the step that the order is at."""
    next_step = NEXT[order.step]
    if undo := UNDOS.get(order.step):
        return undo(order, next_step)
    step = STEPS[order.step]
    try:
        return step.module.do(order, next_step)
    except step.module.REFUSALS as refusal:
        # Closed: an undo of this order came first, so that undo has to be completed.
        first_undo = UNDO_EVERYTHING if isinstance(refusal, Closed) else step.undo_name or UNDO_EVERYTHING
        step.module.on_refused(order, refusal, first_undo)
        return None


def _compensate_if_cancelled_or_expired(order: Order) -> None:
    """Begin to undo a checkout whose cancel was requested or whose time to pay is over; nothing else turns it back."""
    if order.step in BACKWARD:
        return
    if order.cancel_requested_at and order.status in Order.CANCELLABLE_STATUSES:
        cancel(order, "requested", "The order was cancelled.", undo_step=UNDO_EVERYTHING)
    elif order.is_expired and order.step in (Step.RESERVING, Step.AUTHORIZING):
        authorize.on_expired(order, next_step=NEXT[Step.AUTHORIZING], undo_step=UNDO_EVERYTHING)
    elif order.is_expired and order.status == OrderStatus.ON_HOLD:
        capture.on_expired(order, undo_step=UNDO_EVERYTHING)
