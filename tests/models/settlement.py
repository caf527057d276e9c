"""Model of the money of one order after its authorization: refused captures, money moved at the provider, cancel, expiry.

The amount is two units, so that a part of it can be captured or refunded. The provider may refund a unit by itself, refuse
a refund, and refuse a capture until the bank allows it. A reply may be lost; then the call is repeated with its key. The
customer approves the payment at the provider, whose news to the shop may be lost.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from tests.models.explorer import Model

TOTAL = 2
Status = Literal[
    "waiting", "authorized", "capturing", "capture_refused", "captured", "refunding", "owed", "refunded", "voided"
]  # fmt: skip
FINAL: tuple[Status, ...] = ("refunded", "voided")


@dataclass(frozen=True)
class Guards:
    """The rules of settlement (docs/protocol.md, sections 3.5, 3.7 and 4.4). Each can be switched off alone."""

    ask_before_expiry: bool = True  # an order is rejected for lack of payment only after its provider was asked
    retry_after_refusal: bool = True  # another capture starts only after a definite refusal of the last one
    account_for_amounts: bool = True  # what the provider refunded by itself is known before the rest is refunded
    end_refused_refund: bool = True  # a refund that cannot be made is a task for staff, not a reason to wait


class State(NamedTuple):
    """Our payment and order, and the provider, at one moment."""

    order: Literal["pending", "live", "rejected", "cancelled"]
    is_closed: bool  # the order has ended, its stock is free
    status: Status
    capture_key: int  # of the running or the last capture
    refunded: int  # as we know
    pending: int  # of the running refund
    is_task_overstated: bool  # staff were asked to pay back what the provider had refunded
    is_approved: bool  # at the provider, by its customer
    bank_allows: bool
    is_released: bool  # the authorization, by a void
    captured_keys: frozenset[int]  # each took the whole amount
    refunded_at_provider: int
    may_refund_itself: bool
    refuses_refunds: bool
    was_paid_at_expiry: bool


Steps: TypeAlias = Iterator[tuple[str, State]]

START = State(
    order="pending",
    is_closed=False,
    status="waiting",
    capture_key=0,
    refunded=0,
    pending=0,
    is_task_overstated=False,
    is_approved=False,
    bank_allows=False,
    is_released=False,
    captured_keys=frozenset(),
    refunded_at_provider=0,
    may_refund_itself=True,
    refuses_refunds=False,
    was_paid_at_expiry=False,
)


def steps(state: State, guards: Guards) -> Steps:
    """Yield everything that may happen next."""
    yield from outside_steps(state)
    yield from order_steps(state, guards)
    yield from capture_steps(state, guards)
    yield from undo_steps(state, guards)
    yield from staff_steps(state)


def outside_steps(state: State) -> Steps:
    """Let the customer, the bank and the provider act by themselves."""
    if not state.is_approved and not state.is_released:
        yield "the customer approves", state._replace(is_approved=True)
    if not state.bank_allows:
        yield "the bank allows captures", state._replace(bank_allows=True)
    if state.captured_keys and state.may_refund_itself and state.refunded_at_provider < TOTAL:
        yield (
            "the provider refunds a unit by itself",
            state._replace(refunded_at_provider=state.refunded_at_provider + 1, may_refund_itself=False),
        )
    if not state.refuses_refunds:
        yield "the provider refuses refunds from now on", state._replace(refuses_refunds=True)


def order_steps(state: State, guards: Guards) -> Steps:
    """Learn the approval, expire, cancel, and close."""
    if state.order == "pending" and state.is_approved:
        yield "the approval becomes known", state._replace(order="live", status="authorized")
    if state.order == "pending":
        if guards.ask_before_expiry and state.is_approved:
            yield "at the expiry the provider reports the approval", state._replace(order="live", status="authorized")
        else:
            yield "the order expires", state._replace(order="rejected", was_paid_at_expiry=state.is_approved)
    if state.order == "live":
        yield "the order is cancelled", state._replace(order="cancelled")
    is_undone = state.status in FINAL or state.status == "owed"
    if state.order in ("rejected", "cancelled") and is_undone and not state.is_closed:
        yield "the order is closed", state._replace(is_closed=True)


def capture_steps(state: State, guards: Guards) -> Steps:
    """Capture; repeat what was not answered; try again what was refused."""
    if state.order == "live" and state.status in ("authorized", "capture_refused"):
        yield "a capture starts", state._replace(status="capturing", capture_key=min(state.capture_key + 1, 2))
    if state.status != "capturing":
        return
    key = state.capture_key
    if state.bank_allows:
        taken = state._replace(captured_keys=state.captured_keys | {key})
        yield "the provider captures, the reply is lost", taken
        yield "the provider captures", taken._replace(status="captured")
    elif key not in state.captured_keys:
        yield "the bank refuses the capture", state._replace(status="capture_refused")
    if not guards.retry_after_refusal and key < 2:
        yield "the unanswered capture starts again with another key", state._replace(capture_key=key + 1)


def undo_steps(state: State, guards: Guards) -> Steps:
    """Undo the payment of an order that has ended: void what is authorized, refund what is captured."""
    if state.order not in ("rejected", "cancelled"):
        return
    if state.status in ("waiting", "authorized", "capture_refused"):
        yield "the payment is voided", state._replace(status="voided", is_released=True)
    if state.status == "captured":
        yield (
            "a refund of the rest starts",
            state._replace(status="refunding", pending=TOTAL - state.refunded),
        )
    if state.status == "refunding":
        yield from refund_steps(state, guards)


def refund_steps(state: State, guards: Guards) -> Steps:
    """Let the provider carry out or refuse the running refund."""
    left = TOTAL - state.refunded_at_provider
    if state.pending <= left and not state.refuses_refunds:
        done = state._replace(refunded_at_provider=state.refunded_at_provider + state.pending)
        yield "the provider refunds", done._replace(status="refunded", refunded=TOTAL, pending=0)
        return
    refused = state._replace(pending=0, status="captured")
    if guards.account_for_amounts and state.refunded_at_provider > state.refunded:
        known = state.refunded_at_provider
        status: Status = "refunded" if known == TOTAL else "captured"
        yield (
            "the refund is refused, what the provider refunded is known",
            refused._replace(refunded=known, status=status),
        )
    elif guards.end_refused_refund:
        yield (
            "the refund is refused and becomes a task",
            refused._replace(status="owed", is_task_overstated=state.refunded_at_provider > state.refunded),
        )
    else:
        yield "the refund is refused", refused


def staff_steps(state: State) -> Steps:
    """Let staff decide about a refused refund, or a timer retry it."""
    if state.status != "owed":
        return
    yield "the refund is tried again", state._replace(status="captured")
    if state.refunded == state.refunded_at_provider:  # the task shows what the provider refunded itself
        yield (
            "staff pay back by other means",
            state._replace(status="refunded", refunded=TOTAL, may_refund_itself=False),
        )


def is_quiet(state: State) -> bool:
    """Return whether nothing is left to do without staff."""
    if state.order == "live":
        return state.status == "captured"
    return state.is_closed


def violation(state: State) -> str:
    """Return what is wrong with the state, if anything."""
    if len(state.captured_keys) > 1:
        return "the money is captured twice"
    if state.was_paid_at_expiry:
        return "a paid order is rejected for lack of payment"
    if state.refunded_at_provider > TOTAL:
        return "more is refunded than was captured"
    if state.is_task_overstated:
        return "staff are asked to pay back what was refunded"
    return ""


def is_settled(state: State) -> bool:
    """Return whether the order has ended well."""
    return is_quiet(state) and not violation(state)


MODEL = Model("settlement", START, Guards(), steps, violation, is_settled)
