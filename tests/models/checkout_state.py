"""State of the checkout model: one order, the last unit of one product, two workers, inventory and payments.

A lease may run out at any time, so that a second worker takes over while the first one continues. Calls and replies are
delayed or lost, and workers crash at any step. The customer may cancel, the reservation may become due, and a rival buys
the unit as soon as it is free.

The two workers are interchangeable, so a state does not say which of them holds the lease. If they had names, each state
with a busy worker would count twice: see `count_with_named_workers`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

Status = Literal["pending", "confirmed", "rejected", "cancelled"]
Step = Literal[
    "reserving", "authorizing", "confirming", "capturing", "done", "undo_money", "undo_stock", "closed"
]  # fmt: skip
ReservationState = Literal["none", "held", "committed", "refused", "released", "tombstone", "expired"]
PaymentState = Literal["none", "authorized", "captured", "declined", "voided", "refunded", "tombstone"]
StockEvent = Literal["none", "published", "handled", "failed"]
Call = Literal["reserve", "authorize", "confirm", "capture", "cancel_payment", "void", "release"]
Reply = Literal["", "ok", "out_of_stock", "declined", "closed", "refused"]
Role = Literal["holder", "overtaken"]  # the worker that took the lease last, and the one that lost it
Sender = Literal["holder", "overtaken", "none"]  # none: the sender does not wait any more

FORWARD_STEPS = ("reserving", "authorizing", "confirming", "capturing")
ENDED_STEPS = ("done", "closed")
STOCK_TAKEN = ("held", "committed")
MONEY_TAKEN = ("authorized", "captured")


@dataclass(frozen=True)
class Guards:
    """The rules of the checkout (docs/protocol.md, sections 1 and 3). Each can be switched off alone."""

    fence: bool = True  # an overtaken worker writes nothing
    tombstone: bool = True  # undo of a key that was never seen closes the key
    undo_tried: bool = True  # undo starts with the stored step: its call may have happened
    saga_owns_expiry: bool = True  # a due reservation stays held until the saga decides
    cancel_flag: bool = True  # a cancel sets a flag and nothing else; confirm looks at the flag
    one_undo: bool = True  # one call undoes both authorize and capture
    free_after_money: bool = True  # stock is released only when the payment is settled


class Work(NamedTuple):
    """One call of a worker: about to be made, waiting for the reply, or answered."""

    phase: Literal["starting", "waiting", "answered"]
    call: Call
    reply: Reply = ""


class Message(NamedTuple):
    """A request in the network. Its reply is lost if the sender does not wait for it any more."""

    call: Call
    sender: Sender


class State(NamedTuple):
    """The order, its reservation and payment, the workers and the network at one moment."""

    status: Status
    step: Step
    cancel_requested: bool
    may_cancel: bool  # the customer has not cancelled yet
    is_due: bool  # orders knows that the reservation is due
    may_become_due: bool
    reservation: ReservationState
    rival_has_unit: bool
    payment: PaymentState
    holder: Work | None
    overtaken: Work | None
    messages: tuple[Message, ...]  # sorted, none of them twice
    stock_event: StockEvent  # the delivery of OrderConfirmed to inventory


START = State(
    status="pending",
    step="reserving",
    cancel_requested=False,
    may_cancel=True,
    is_due=False,
    may_become_due=True,
    reservation="none",
    rival_has_unit=False,
    payment="none",
    holder=None,
    overtaken=None,
    messages=(),
    stock_event="none",
)


def is_quiet(state: State) -> bool:
    """Return whether nothing more can happen to the order."""
    is_reopened = state.step == "done" and state.cancel_requested and state.status == "confirmed"
    is_at_work = state.holder or state.overtaken or state.messages or state.stock_event == "published"
    return state.step in ENDED_STEPS and not is_reopened and not is_at_work


def violation(state: State) -> str:
    """Return what is wrong with the state, if anything."""
    if state.stock_event == "failed":
        return "a confirmed order has no stock"
    if state.reservation in ("released", "tombstone") and state.payment in MONEY_TAKEN:
        return "the stock is free, the money is still taken"
    if not is_quiet(state):
        return ""
    return confirmed_violation(state) if state.status == "confirmed" else undone_violation(state)


def confirmed_violation(state: State) -> str:
    """Return what is wrong with a confirmed order to which nothing more happens."""
    if state.cancel_requested:
        return "the cancel was accepted, the order is confirmed"
    if state.reservation != "committed":
        return f"the order is confirmed, the reservation is {state.reservation}"
    if state.payment != "captured":
        return f"the order is confirmed, the payment is {state.payment}"
    return ""


def undone_violation(state: State) -> str:
    """Return what is wrong with any other order to which nothing more happens."""
    if state.status == "pending":
        return "the checkout has ended, the order is pending"
    if state.reservation in STOCK_TAKEN:
        return f"the order is {state.status}, the stock is {state.reservation}"
    if state.payment in MONEY_TAKEN:
        return f"the order is {state.status}, the money is {state.payment}"
    return ""


def is_settled(state: State) -> bool:
    """Return whether the order has ended well."""
    return is_quiet(state) and not violation(state)


def count_with_named_workers(states: Iterable[State]) -> int:
    """Count the states as if the two workers had names: twice where one of them is busy."""
    return sum(2 if state.holder or state.overtaken else 1 for state in states)
