"""The checkout: from a placed order to a confirmed one, or back to nothing. Do and undo side by side.

    reserving → authorizing → confirming → capturing → done        the way there
                     undo_money → undo_stock → closed              the way back, money first, stock second

Whoever carries an order on holds its lease, and every write here says `WHERE attempt = mine`: no row means that
somebody else has taken over, and this worker stops (Fenced). A step between idempotent calls is stored only where one
has to wait, for repeating them from the last stored one is the same. So a cancel, or the end of the time to pay, undoes
the money from whatever step is stored: payments leaves a tombstone where there was none.

    what happens                  status      step on rest   POST orders answers   event
    all is well                   confirmed   done           201                   OrderConfirmed, OrderPaid
    customer or provider to say   pending     authorizing    202                   –
    not enough in stock           rejected    closed         409 out_of_stock      OrderRejected (before any of this, if the
                                                                                   quote says so already)
    declined                      rejected    closed         402 declined          OrderRejected
    not paid in time              rejected    closed         409 expired           OrderRejected
    capture refused for good      on_hold     capturing      201                   OrderPutOnHold
    cancel requested              cancelled   closed         409 order_was_cancelled, unless 201 was given
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import structlog
from django.conf import settings

from contexts.inventory.interface import Line, OutOfStock, UnknownSku, inventory
from contexts.orders.events import (
    OrderCancelled,
    OrderConfirmed,
    OrderPaid,
    OrderPutOnHold,
    OrderRejected,
)
from contexts.orders.models import Order
from contexts.payments.interface import Declined, NotCapturable, Payment, PaymentMethod, payments
from shop import clock
from shop.database import In, NothingChanged, assignments, require, rows, transaction
from shop.errors import Closed, DomainError, Unavailable
from shop.events import Event
from shop.leases import Fenced, backoff, renewing
from shop.money import Money
from shop.outbox import publish

Status, Step = Order.Status, Order.Step
REMEMBERED = ("step", "tries", "payment_id", "payment_status", "payment_action")
LOOK_AGAIN = timedelta(seconds=30)  # while waiting for an event that says when: in case it is late
PAID = ("authorized", "capturing", "captured")
TAKEN = ("captured", "refunding", "refunded")  # what staff give back later, in part or in full, calls no order off
STUCK = 10  # tries without an answer, after which somebody should look

log = structlog.get_logger(__name__)


class Expired(DomainError):
    """The order was given up: it was not paid in time."""

    status = 409


@dataclass(frozen=True)
class Pause:
    """Nothing more to do now: final, or to be looked at again after `delay`. With what is still to be written."""

    delay: timedelta | None = None
    event: Event | None = None
    changes: dict[str, Any] = field(default_factory=dict)


def carry_on(order: Order, *, before_release: Callable[[Order], object] = lambda order: None) -> Order:
    """Carry an order whose lease is held on until it is final or has to wait, then give the lease back.

    before_release runs in the transaction that gives the lease back. Raises Fenced when somebody else has taken over.
    """
    with renewing(order, "orders"):
        while not _give_back(order, _run(order), before_release):
            _read_again(order)
    return order


def _run(order: Order) -> Pause:
    """Step until nothing is left to do, or a step has to wait."""
    try:
        while True:
            _turn_round_if_wanted(order)
            if order.is_final:
                return Pause()
            if pause := STEPS[order.step](order):
                return pause
            order.tries = 0
    except Unavailable as error:
        return _try_again(order, str(error))


def _try_again(order: Order, why: str) -> Pause:
    """Stay on the step, which may or may not have happened. Loud when it has been so for long."""
    order.tries += 1
    tell = log.error if order.tries >= STUCK else log.warning
    tell("checkout_waits", order=str(order.id), step=order.step, tries=order.tries, why=why)
    return Pause(backoff(order.tries))


def _give_back(order: Order, pause: Pause, before_release: Callable[[Order], object]) -> bool:
    """Write what is left and give the lease back; False where somebody has said meanwhile that there is news."""
    has_an_end = order.step == Step.AUTHORIZING or order.status == Status.ON_HOLD
    due = In(pause.delay, at_latest="expires_at" if has_an_end else "NULL")
    remembered = {name: getattr(order, name) for name in REMEMBERED}
    changes = remembered | pause.changes | {"lease_until": None, "due_at": due}
    return _update(order, pause.event, changes, only_if="NOT woken", also=before_release)


def _read_again(order: Order) -> None:
    """Take note of the news: the only thing that others write is the wish to cancel. Raises Fenced."""
    mine = "UPDATE orders_order SET woken = false WHERE id = %s AND attempt = %s RETURNING cancel_requested_at"
    for (cancel_requested_at,) in rows("orders", mine, [order.pk, order.attempt]):
        order.cancel_requested_at = cancel_requested_at
        return
    raise Fenced


def _write(order: Order, event: Event, **changes: Any) -> None:
    """One transaction: the order's row, under the fence, and the fact. Raises Fenced."""
    if not _update(order, event, changes):
        raise Fenced


def _update(
    order: Order,
    event: Event | None,
    changes: dict[str, Any],
    *,
    only_if: str = "true",
    also: Callable[[Order], object] = lambda order: None,
) -> bool:
    """The one transaction that changes an order, WHERE attempt = mine. False where the row is not (so) ours."""
    if event:
        changes["sequence"] = order.sequence + 1
    names, values = assignments(changes)
    mine = f"UPDATE orders_order SET {names} WHERE id = %s AND attempt = %s AND {only_if}"
    before = {name: getattr(order, name) for name in changes}
    vars(order).update(changes)
    try:
        with transaction("orders"):
            require("orders", "order", mine, [*values, order.pk, order.attempt])
            if event:
                publish(event, sequence=order.sequence)
            also(order)
    except BaseException as error:
        vars(order).update(before)
        if not isinstance(error, NothingChanged):
            raise
        return False
    return True


def told(order: Order, kind: str, text: str, context: str = "orders") -> list[dict[str, str]]:
    """The order's timeline with one more entry."""
    return [*order.timeline, {"at": clock.now().isoformat(), "kind": kind, "text": text, "context": context}]


def _who(order: Order) -> dict[str, Any]:
    return {"order_id": order.id, "number": order.number, "user_id": order.user_id}


# The way there.


def reserve(order: Order) -> None:
    """Set the stock aside."""
    lines = tuple(Line(sku=line.sku, quantity=line.quantity) for line in order.lines.all())
    try:
        inventory.reserve(order_id=order.id, lines=lines, hold=timedelta(seconds=settings.RESERVATION_HOLD_SECONDS))
    except (OutOfStock, UnknownSku) as refused:
        reject(order, refused, undo=Step.UNDO_STOCK)
    except Closed as refused:
        reject(order, refused, undo=Step.UNDO_MONEY)
    else:
        order.step = Step.AUTHORIZING


def authorize(order: Order) -> Pause | None:
    """Have the money set aside; wait where the customer or the provider still has to say something."""
    method = PaymentMethod(provider=order.payment_provider, token=order.payment_token)
    try:
        payment = payments.authorize(
            order_id=order.id, amount=Money(order.total, order.currency), method=method, customer_id=order.user_id
        )
    except Closed as refused:
        reject(order, refused, undo=Step.UNDO_MONEY)
        return None
    _remember(order, payment)
    if payment.status in ("processing", "unknown", "requires_action"):
        return Pause(LOOK_AGAIN)
    if payment.status in PAID:
        order.step = Step.CONFIRMING
    else:
        reject(order, Declined(reason=payment.reason or payment.status), undo=Step.UNDO_MONEY)
    return None


def confirm(order: Order) -> None:
    """The promise: stock is the customer's, money is authorized. A cancel that came before wins."""
    changes = {
        "status": Status.CONFIRMED,
        "step": Step.CAPTURING,
        "payment_id": order.payment_id,
        "payment_status": order.payment_status,
        "payment_action": None,
        "payment_token": "",
        "timeline": told(order, "confirmed", "The order is confirmed."),
    }
    confirmed = OrderConfirmed(**_who(order), total=Money(order.total, order.currency))
    if not _update(order, confirmed, changes, only_if="cancel_requested_at IS NULL"):
        _read_again(order)


def capture(order: Order) -> Pause | None:
    """Take the money. What is definitely refused puts the order on hold: nothing ships, staff and customer are told."""
    try:
        payment = payments.capture(order_id=order.id)
    except NotCapturable:
        cancel(order, "payment_called_off", "The payment was called off.")
        return None
    _remember(order, payment)
    if payment.status in TAKEN:
        return _paid(order, payment)
    if payment.status == "capture_refused" and order.status != Status.ON_HOLD:
        _put_on_hold(order, payment)
    return Pause(LOOK_AGAIN)


def _paid(order: Order, payment: Payment) -> Pause:
    changes = {
        "status": Status.CONFIRMED,
        "step": Step.DONE,
        "payment_status": payment.status,
        "timeline": told(order, "paid", "The payment was taken.", "payments"),
    }
    return Pause(event=OrderPaid(**_who(order), total=payment.amount), changes=changes)


def _put_on_hold(order: Order, payment: Payment) -> None:
    """Keep the stock while staff and customer know of it; ON_HOLD_SECONDS later the order is cancelled."""
    _write(
        order,
        OrderPutOnHold(**_who(order), reason=payment.reason),
        status=Status.ON_HOLD,
        payment_status=payment.status,
        expires_at=In(timedelta(seconds=settings.ON_HOLD_SECONDS)),
        timeline=told(order, "on_hold", "The payment could not be taken.", "payments"),
    )
    order.refresh_from_db(fields=["expires_at"])  # the database's clock has set it


# The way back.


def _turn_round_if_wanted(order: Order) -> None:
    """A cancel, or the end of the time to pay, turns a checkout round; nothing else does."""
    if order.step in (Step.UNDO_MONEY, Step.UNDO_STOCK, Step.CLOSED):
        return
    if order.cancel_requested_at and order.status in (Status.PENDING, Status.CONFIRMED, Status.ON_HOLD):
        cancel(order, "requested", "The order was cancelled.")
    elif order.is_expired and order.step in (Step.RESERVING, Step.AUTHORIZING):
        confirm_or_expire(order)
    elif order.is_expired and order.status == Status.ON_HOLD:
        cancel(order, "not_paid", "The payment could not be taken in time.")


def confirm_or_expire(order: Order) -> None:
    """The time to pay is over. Who has paid meanwhile gets the goods; nothing new is authorized."""
    for payment in payments.of_orders(order_ids=(order.id,)):
        if payment.status in PAID:
            _remember(order, payment)
            order.step = Step.CONFIRMING
            return
    reject(order, Expired(), undo=Step.UNDO_MONEY)


def reject(order: Order, refusal: DomainError, *, undo: str) -> None:
    """The order comes to nothing; what it holds goes back."""
    _write(
        order,
        OrderRejected(**_who(order), reason=refusal.code),
        status=Status.REJECTED,
        step=undo,
        refusal={"code": refusal.code, "facts": refusal.facts},
        payment_id=order.payment_id,
        payment_status=order.payment_status,
        payment_action=None,
        payment_token="",
        timeline=told(order, "rejected", str(refusal)),
    )


def cancel(order: Order, reason: str, text: str) -> None:
    """The order is called off; money and stock go back."""
    _write(
        order,
        OrderCancelled(**_who(order), reason=reason),
        status=Status.CANCELLED,
        step=Step.UNDO_MONEY,
        payment_action=None,
        payment_token="",
        timeline=told(order, "cancelled", text),
    )


def undo_money(order: Order) -> Pause | None:
    """Void, refund or tombstone, as payments' own row says. Retried for ever."""
    payment = payments.cancel(order_id=order.id)
    if payment:
        _remember(order, payment)
        if payment.status not in ("voided", "refunded", "declined"):
            return _try_again(order, f"payment is {payment.status}")
    order.step = Step.UNDO_STOCK
    return None


def undo_stock(order: Order) -> None:
    """Free the stock, only after the money is settled."""
    inventory.release(order_id=order.id)
    order.step = Step.CLOSED


def _remember(order: Order, payment: Payment) -> None:
    order.payment_id, order.payment_status = payment.id, payment.status
    order.payment_action = {"type": payment.action.type, "url": payment.action.url} if payment.action else None


STEPS: dict[str, Callable[[Order], Pause | None]] = {
    Step.RESERVING: reserve,
    Step.AUTHORIZING: authorize,
    Step.CONFIRMING: confirm,
    Step.CAPTURING: capture,
    Step.UNDO_MONEY: undo_money,
    Step.UNDO_STOCK: undo_stock,
}
