"""The state machine of a payment: which transition follows from a provider's response.

The functions have no side effects: each takes the payment's row and the response, and returns what has to be written.
Amounts only grow. The statuses declined, voided and refunded are final, except that money found at the provider later is
refunded.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypedDict
from uuid import UUID

from contexts.payments import events
from contexts.payments.interface import PaymentStatus
from contexts.payments.models import Payment, RefundStatus
from contexts.payments.providers import ProviderResponse, ProviderStatus
from shop.messaging.events import Event
from shop.money import Money

OPEN_STATUSES = (PaymentStatus.PROCESSING, PaymentStatus.UNKNOWN, PaymentStatus.REQUIRES_ACTION)  # no outcome yet
VOIDABLE_STATUSES = (*OPEN_STATUSES, PaymentStatus.AUTHORIZED, PaymentStatus.CAPTURE_REFUSED)
CAPTURE_STARTED_STATUSES = (
    PaymentStatus.CAPTURING,
    PaymentStatus.CAPTURED,
    PaymentStatus.CAPTURE_REFUSED,
    PaymentStatus.REFUNDING,
    PaymentStatus.REFUNDED,
)
FINAL_STATUSES = (PaymentStatus.DECLINED, PaymentStatus.VOIDED, PaymentStatus.REFUNDED)
RECONCILED_STATUSES = (  # the reconciler asks the provider again
    PaymentStatus.UNKNOWN,
    PaymentStatus.REQUIRES_ACTION,
    PaymentStatus.CAPTURING,
    PaymentStatus.VOIDING,
    PaymentStatus.REFUNDING,
)


class Changes(TypedDict, total=False):
    """New values of a payment's columns."""

    token: str
    authorized: int
    captured: int
    refunded: int
    pending: int
    refund_id: UUID | None
    reason: str
    action_url: str
    cancel_wanted: bool


@dataclass(frozen=True, kw_only=True)
class LedgerMovement:
    """A movement of money for the ledger: into the shop, or (negative) back to the customer."""

    name: str
    amount: int


@dataclass(frozen=True, kw_only=True)
class Transition:
    """A change of a payment: its status and columns, with the events, booking and refund rows that belong to it."""

    status: PaymentStatus
    changes: Changes
    events: tuple[Event, ...] = ()
    booking: LedgerMovement | None = None
    refund_outcome: RefundStatus | None = None  # of the running refund
    refusal: str = ""
    starts_refund: bool = False  # of changes["pending"]
    continues: bool = False  # the next operation follows at once, under the same lease
    alert: str = ""  # log event for staff


def decide_transition(row: Payment, response: ProviderResponse) -> Transition:
    """Return the transition that follows from a provider's response."""
    rule = _TRANSITIONS.get(PaymentStatus(row.status), {}).get(response.status, _keep_status)
    return continue_with_cancel(row, rule(row, response))


def keep_row(row: Payment) -> Transition:
    """Return a transition that changes nothing but the version."""
    return Transition(status=PaymentStatus(row.status), changes={})


def continue_with_cancel(row: Payment, transition: Transition) -> Transition:
    """Extend a transition by the undo if a cancel was requested: void an authorization, refund captured money."""
    changes = transition.changes
    if not (row.cancel_wanted or changes.get("cancel_wanted")):
        return transition
    if transition.status in VOIDABLE_STATUSES:
        return replace(transition, status=PaymentStatus.VOIDING, changes=changes | {"token": ""}, continues=True)
    if transition.status == PaymentStatus.CAPTURED:
        remaining = changes.get("captured", row.captured) - changes.get("refunded", row.refunded)
        refund: Changes = {"pending": remaining, "refund_id": row.id}  # the payment's id: one such refund per payment
        return replace(
            transition, status=PaymentStatus.REFUNDING, changes=changes | refund, starts_refund=True, continues=True
        )
    return transition


def is_cancel_due(row: Payment) -> bool:
    """Return whether a cancel was requested and no running operation has to be resolved first."""
    return row.cancel_wanted and (row.status in VOIDABLE_STATUSES or row.status == PaymentStatus.CAPTURED)


def publish_resolved(row: Payment, transition: Transition) -> Transition:
    """Add PaymentResolved to a transition that ends the wait for an outcome."""
    if transition.continues or transition.status in (row.status, PaymentStatus.UNKNOWN):
        return transition
    resolved = events.PaymentResolved(order_id=row.order_id, payment_id=row.id, status=transition.status)
    return replace(transition, events=(*transition.events, resolved))


def _keep_status(row: Payment, response: ProviderResponse) -> Transition:
    status = PaymentStatus(row.status)
    return Transition(status=PaymentStatus.UNKNOWN if status == PaymentStatus.PROCESSING else status, changes={})


def _on_authorized(row: Payment, response: ProviderResponse) -> Transition:
    event = events.PaymentAuthorized(order_id=row.order_id, payment_id=row.id, amount=Money(row.amount, row.currency))
    return Transition(status=PaymentStatus.AUTHORIZED, changes={"authorized": row.amount, "token": ""}, events=(event,))


def _on_declined(row: Payment, response: ProviderResponse) -> Transition:
    event = events.PaymentDeclined(order_id=row.order_id, payment_id=row.id, reason=response.reason)
    return Transition(status=PaymentStatus.DECLINED, changes={"reason": response.reason, "token": ""}, events=(event,))


def _on_requires_action(row: Payment, response: ProviderResponse) -> Transition:
    return Transition(status=PaymentStatus.REQUIRES_ACTION, changes={"action_url": response.action_url, "token": ""})


def _on_captured(row: Payment, response: ProviderResponse) -> Transition:
    event = events.PaymentCaptured(order_id=row.order_id, payment_id=row.id, amount=Money(row.amount, row.currency))
    return Transition(
        status=PaymentStatus.CAPTURED,
        changes={"authorized": row.amount, "captured": row.amount, "reason": "", "token": ""},
        events=(event,),
        booking=LedgerMovement(name="capture", amount=row.amount),
    )


def _on_capture_refused(row: Payment, response: ProviderResponse) -> Transition:
    event = events.CaptureRefused(order_id=row.order_id, payment_id=row.id, reason=response.reason)
    return Transition(status=PaymentStatus.CAPTURE_REFUSED, changes={"reason": response.reason}, events=(event,))


def _on_voided(row: Payment, response: ProviderResponse) -> Transition:
    event = events.PaymentVoided(order_id=row.order_id, payment_id=row.id)
    return Transition(status=PaymentStatus.VOIDED, changes={"token": ""}, events=(event,))


def _on_refunded(row: Payment, response: ProviderResponse) -> Transition:
    refunded = row.refunded + row.pending
    event = events.PaymentRefunded(order_id=row.order_id, payment_id=row.id, amount=Money(row.pending, row.currency))
    return Transition(
        status=PaymentStatus.REFUNDED if refunded == row.captured else PaymentStatus.CAPTURED,
        changes={"refunded": refunded, "pending": 0, "refund_id": None},
        events=(event,),
        booking=LedgerMovement(name=str(row.refund_id), amount=-row.pending),
        refund_outcome=RefundStatus.DONE,
    )


def _on_refund_refused(row: Payment, response: ProviderResponse) -> Transition:
    """End a refund by staff, who may request another one. Keep retrying the refund of a cancelled order."""
    if row.refund_id == row.id:
        return replace(_keep_status(row, response), alert="refund_refused")
    return Transition(
        status=PaymentStatus.CAPTURED,
        changes={"pending": 0, "refund_id": None},
        refund_outcome=RefundStatus.REFUSED,
        refusal=response.reason,
    )


def _on_unexpected_funds(row: Payment, response: ProviderResponse) -> Transition:
    """Void or refund funds that the provider holds although the payment is final here."""
    is_captured = response.status == ProviderStatus.CAPTURED
    transition = _on_captured(row, response) if is_captured else _keep_status(row, response)
    return replace(
        transition,
        status=PaymentStatus.CAPTURED if is_captured else PaymentStatus.VOIDING,
        changes=transition.changes | {"cancel_wanted": True},
        continues=True,
        alert="money_found",
    )


TransitionRule = Callable[[Payment, ProviderResponse], Transition]
_OPEN_RULES: dict[ProviderStatus, TransitionRule] = {
    ProviderStatus.AUTHORIZED: _on_authorized,
    ProviderStatus.CAPTURED: _on_captured,
    ProviderStatus.DECLINED: _on_declined,
    ProviderStatus.REQUIRES_ACTION: _on_requires_action,
    ProviderStatus.CANCELLED: _on_voided,
}
_AUTHORIZED_RULES: dict[ProviderStatus, TransitionRule] = {
    ProviderStatus.CAPTURED: _on_captured,
    ProviderStatus.CANCELLED: _on_voided,
}
_FINAL_RULES: dict[ProviderStatus, TransitionRule] = {
    ProviderStatus.AUTHORIZED: _on_unexpected_funds,
    ProviderStatus.CAPTURED: _on_unexpected_funds,
    ProviderStatus.REQUIRES_ACTION: _on_unexpected_funds,
}
_TRANSITIONS: dict[PaymentStatus, dict[ProviderStatus, TransitionRule]] = {
    PaymentStatus.PROCESSING: _OPEN_RULES,
    PaymentStatus.UNKNOWN: _OPEN_RULES,
    PaymentStatus.REQUIRES_ACTION: _OPEN_RULES,
    PaymentStatus.AUTHORIZED: _AUTHORIZED_RULES,
    PaymentStatus.CAPTURING: {
        ProviderStatus.CAPTURED: _on_captured,
        ProviderStatus.REFUSED: _on_capture_refused,
        ProviderStatus.CANCELLED: _on_capture_refused,
    },
    PaymentStatus.CAPTURE_REFUSED: _AUTHORIZED_RULES,
    PaymentStatus.VOIDING: {
        ProviderStatus.CAPTURED: _on_captured,
        ProviderStatus.CANCELLED: _on_voided,
        ProviderStatus.DECLINED: _on_voided,
    },
    PaymentStatus.REFUNDING: {
        ProviderStatus.REFUNDED: _on_refunded,
        ProviderStatus.REFUSED: _on_refund_refused,
    },
    PaymentStatus.DECLINED: _FINAL_RULES,
    PaymentStatus.VOIDED: _FINAL_RULES,
}
