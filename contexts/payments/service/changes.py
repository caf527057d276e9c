"""The parts of one change of a payment: its status and columns, with the events, bookings and refunds that belong to it."""

from dataclasses import dataclass, replace
from typing import Any, TypedDict
from uuid import UUID

from contexts.payments.interface import DisputeState, PaymentStatus
from contexts.payments.models import Payment, Refund, RefundStatus, StaffTask
from contexts.payments.providers import FailedRefund
from shop.messaging.events import Event


class Changes(TypedDict, total=False):
    """New values of a payment's columns."""

    token: str
    provider: str
    reference: str
    next_attempt: UUID | None
    next_provider: str
    next_token: str
    authorized: int
    captured: int
    refunded: int
    refunded_elsewhere: int
    waived: int
    disputed: int
    dispute: str
    attention: str
    capturing: int
    refunds_failed: int
    owed: int
    pending: int
    refund_id: UUID | None
    reason: str
    action_url: str
    cancel_wanted: bool


@dataclass(frozen=True, kw_only=True)
class LedgerMovement:
    """A movement of money for the ledger: from one account to another, or (negative) back."""

    name: str
    amount: int
    to: str = "provider"
    source: str = "sales"


@dataclass(frozen=True, kw_only=True)
class FoundRefund:
    """A refund that the provider made without a request of the shop."""

    id: UUID
    amount: int


@dataclass(frozen=True, kw_only=True)
class Transition:
    """A change of a payment: its status and columns, with the events, bookings and refund rows that belong to it."""

    status: PaymentStatus
    changes: Changes
    events: tuple[Event, ...] = ()
    bookings: tuple[LedgerMovement, ...] = ()
    refund_outcome: RefundStatus | None = None  # of the running refund
    refusal: str = ""
    starts_refund: bool = False  # of changes["pending"]
    found_refund: FoundRefund | None = None
    ended_reference: str = ""  # of an intent that was replaced
    failed_refunds: tuple[FailedRefund, ...] = ()  # made before, and returned by the customer's bank
    recorded_refund: Refund | None = None  # made by other means
    continues: bool = False  # the next operation follows at once, under the same lease
    is_compared: bool = False  # the amounts of the provider are those of the payment now
    alert: str = ""  # log event for staff


def get_value(row: Payment, changes: Changes, column: str) -> Any:  # a column of any type
    """Return the value of a column after the changes."""
    return changes.get(column, getattr(row, column))


def compute_refundable(row: Payment, changes: Changes) -> int:
    """Return what can still be refunded after the changes, in minor units."""
    captured, refunded, disputed, waived = (
        get_value(row, changes, column) for column in ("captured", "refunded", "disputed", "waived")
    )
    return int(captured - refunded - disputed - waived)


def extend(
    transition: Transition, changes: Changes, event: Event, booking: LedgerMovement | None = None, alert: str = ""
) -> Transition:
    """Return a transition with further changes, an event and a booking."""
    return replace(
        transition,
        changes=transition.changes | changes,
        events=(*transition.events, event),
        bookings=(*transition.bookings, booking) if booking else transition.bookings,
        alert=alert or transition.alert,
    )


def pay_what_is_owed(row: Payment, changes: Changes, refunded: int) -> Changes:
    """Return the changes that follow from another refund, in minor units, if an earlier one failed."""
    owed = get_value(row, changes, "owed")
    if not owed:
        return {}
    paid: Changes = {"owed": max(0, owed - refunded)}
    if not paid["owed"] and get_value(row, changes, "attention") == StaffTask.REFUND_FAILED:
        is_disputed = get_value(row, changes, "dispute") == DisputeState.OPEN
        paid["attention"] = StaffTask.DISPUTED.value if is_disputed else ""
    return paid
