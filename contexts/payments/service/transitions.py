"""The state machine of a payment: which transition follows from a provider's response.

The functions have no side effects: each takes the payment's row and the response, and returns what has to be written.
Amounts only grow. The statuses declined, voided and refunded are final, except that money found at the provider later is
refunded. What the provider has done by itself is accounted for (`service.movements`).
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

import msgspec

from contexts.payments import events
from contexts.payments.interface import PaymentStatus
from contexts.payments.models import Payment, Refund, RefundStatus, StaffTask
from contexts.payments.providers import ProviderResponse, ProviderStatus
from contexts.payments.service.changes import (
    Changes,
    LedgerMovement,
    Transition,
    compute_refundable,
    get_value,
    pay_what_is_owed,
)
from contexts.payments.service.failed_refunds import account_for_failed_refunds
from contexts.payments.service.movements import (
    SETTLED_STATUSES,
    account_for_amounts,
    book_capture,
    demand_attention,
    has_moved,
)
from shop.ids import uuid7
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
REFUSED_REFUNDS = (StaffTask.REFUND_REFUSED, StaffTask.REFUND_FAILED)  # no refund starts by itself
RECONCILED_STATUSES = (  # the reconciler asks the provider again
    PaymentStatus.UNKNOWN,
    PaymentStatus.REQUIRES_ACTION,
    PaymentStatus.CAPTURING,
    PaymentStatus.VOIDING,
    PaymentStatus.REFUNDING,
)


def decide_transition(row: Payment, response: ProviderResponse, refunds: Iterable[Refund] = ()) -> Transition:
    """Return the transition that follows from a provider's response.

    refunds: those of the payment, needed if the response reports failed ones.
    """
    rule = _TRANSITIONS.get(PaymentStatus(row.status), {}).get(response.status, _keep_status)
    transition = account_for_amounts(row, rule(row, response), response.amounts)
    return continue_with_cancel(row, account_for_failed_refunds(row, transition, response.amounts, refunds))


def is_capturable(row: Payment) -> bool:
    """Return whether something of the payment can be captured, and no operation is running."""
    is_incomplete = row.status == PaymentStatus.CAPTURED and row.captured < row.amount
    is_authorized = row.status in (PaymentStatus.AUTHORIZED, PaymentStatus.CAPTURE_REFUSED)
    return not row.cancel_wanted and (is_authorized or is_incomplete)


def replace_intent(row: Payment, response: ProviderResponse, reference: str) -> Transition:
    """Return the transition to the next attempt, whose intent has this reference, after the present one was cancelled.

    If that one was captured, it stays. If its end is unknown, the provider is asked again.
    """
    no_next: Changes = {"next_attempt": None, "next_provider": "", "next_token": ""}
    if response.status in (ProviderStatus.CANCELLED, ProviderStatus.DECLINED):
        changes = no_next | {"provider": row.next_provider, "reference": reference, "token": row.next_token}
        changes |= {"reason": "", "action_url": ""}
        return Transition(
            status=PaymentStatus.PROCESSING, changes=changes, ended_reference=row.reference, continues=True
        )
    transition = decide_transition(row, response)
    is_over = response.status == ProviderStatus.CAPTURED
    return replace(transition, changes=transition.changes | no_next) if is_over else keep_row(row)


def keep_row(row: Payment) -> Transition:
    """Return a transition that changes nothing but the version."""
    return Transition(status=PaymentStatus(row.status), changes={})


def continue_with_cancel(row: Payment, transition: Transition) -> Transition:
    """Extend a transition by the undo if a cancel was requested: void an authorization, refund captured money."""
    changes = transition.changes
    if not get_value(row, changes, "cancel_wanted"):
        return transition
    if transition.status in VOIDABLE_STATUSES:
        undo: Changes = {"token": "", "next_attempt": None, "next_provider": "", "next_token": ""}
        return replace(transition, status=PaymentStatus.VOIDING, changes=changes | undo, continues=True)
    if transition.status == PaymentStatus.CAPTURED and _can_refund_rest(row, changes):
        refund: Changes = {"pending": compute_refundable(row, changes), "refund_id": uuid7()}
        return replace(
            transition, status=PaymentStatus.REFUNDING, changes=changes | refund, starts_refund=True, continues=True
        )
    return replace(transition, continues=False) if transition.status in SETTLED_STATUSES else transition


def _can_refund_rest(row: Payment, changes: Changes) -> bool:
    """Return whether the rest of a cancelled payment is to be refunded now. A refused or failed one waits."""
    if get_value(row, changes, "attention") in REFUSED_REFUNDS:
        return False
    return compute_refundable(row, changes) > 0 or get_value(row, changes, "captured") == 0  # a payment of 0


def is_cancel_due(row: Payment) -> bool:
    """Return whether a cancel was requested and no running operation has to be resolved first."""
    is_captured = row.status == PaymentStatus.CAPTURED and _can_refund_rest(row, {})
    return row.cancel_wanted and (row.status in VOIDABLE_STATUSES or is_captured)


def is_undone(row: Payment) -> bool:
    """Return whether a cancelled payment is final, or nothing is left to undo but what staff decide."""
    is_captured = row.status == PaymentStatus.CAPTURED and not _can_refund_rest(row, {})
    return row.cancel_wanted and (row.status in FINAL_STATUSES or is_captured)


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
    """End the payment. If its order is confirmed, its customer may still pay in another way: it stays on hold."""
    if row.capture_attempts:
        return replace(_on_capture_refused(row, response), changes={"reason": response.reason, "token": ""})
    event = events.PaymentDeclined(order_id=row.order_id, payment_id=row.id, reason=response.reason)
    return Transition(status=PaymentStatus.DECLINED, changes={"reason": response.reason, "token": ""}, events=(event,))


def _on_requires_action(row: Payment, response: ProviderResponse) -> Transition:
    return Transition(status=PaymentStatus.REQUIRES_ACTION, changes={"action_url": response.action_url, "token": ""})


def _on_captured(row: Payment, response: ProviderResponse) -> Transition:
    """Book what was captured now. As long as it is less than the whole, it is a task for staff."""
    captured = max(row.captured, _find_captured(row, response))
    if captured == row.captured > 0:  # the capture of the rest took nothing
        return _on_capture_refused(row, msgspec.structs.replace(response, reason="nothing_more_captured"))
    changes: Changes = {"authorized": row.amount, "reason": "", "token": "", "capturing": 0}
    transition = Transition(status=PaymentStatus.CAPTURED, changes=changes)
    if captured > row.captured or row.amount == 0:
        transition = book_capture(row, transition, captured - row.captured)
    is_new_task = captured < row.amount and not row.attention
    return demand_attention(row, transition, StaffTask.CAPTURED_IN_PART) if is_new_task else transition


def _find_captured(row: Payment, response: ProviderResponse) -> int:
    """Return all that is captured now: as the provider reports it, else what was requested."""
    if response.amounts and 0 < response.amounts.captured < row.amount:
        return response.amounts.captured
    return row.captured + row.capturing if row.capturing and not response.amounts else row.amount


def _on_capture_refused(row: Payment, response: ProviderResponse) -> Transition:
    """End a refused capture. If it was the capture of the rest, a part stays captured."""
    event = events.CaptureRefused(order_id=row.order_id, payment_id=row.id, reason=response.reason)
    return Transition(
        status=PaymentStatus.CAPTURED if row.captured else PaymentStatus.CAPTURE_REFUSED,
        changes={"reason": response.reason, "capturing": 0},
        events=(event,),
    )


def _on_voided(row: Payment, response: ProviderResponse) -> Transition:
    event = events.PaymentVoided(order_id=row.order_id, payment_id=row.id)
    return Transition(status=PaymentStatus.VOIDED, changes={"token": ""}, events=(event,))


def _on_refunded(row: Payment, response: ProviderResponse) -> Transition:
    refunded = row.refunded + row.pending
    event = events.PaymentRefunded(
        order_id=row.order_id, payment_id=row.id, amount=Money(row.pending, row.currency), refund_id=row.refund_id
    )
    return Transition(
        status=PaymentStatus.REFUNDED if refunded == row.captured else PaymentStatus.CAPTURED,
        changes={"refunded": refunded, "pending": 0, "refund_id": None, **pay_what_is_owed(row, {}, row.pending)},
        events=(event,),
        bookings=(LedgerMovement(name=str(row.refund_id), amount=-row.pending),),
        refund_outcome=RefundStatus.DONE,
    )


def _on_refund_refused(row: Payment, response: ProviderResponse) -> Transition:
    """End the refund, so that staff may request another one.

    If the order was cancelled and the provider has not moved money by itself, a refund of all that is left cannot
    succeed now: it becomes a task for staff. Otherwise what is left then is refunded at once.
    """
    transition = Transition(
        status=PaymentStatus.CAPTURED,
        changes={"pending": 0, "refund_id": None},
        refund_outcome=RefundStatus.REFUSED,
        refusal=response.reason,
    )
    if row.cancel_wanted and row.pending >= row.refundable and not has_moved(row, response.amounts):
        return demand_attention(row, transition, StaffTask.REFUND_REFUSED)
    return transition


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
