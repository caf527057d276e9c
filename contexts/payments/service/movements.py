"""Account for money that moved at the provider without a request of the shop: captures, refunds and disputes.

The functions have no side effects. A captured or refunded amount is applied only if it is more than the known one, so an
outdated or repeated report changes nothing.
"""

from dataclasses import replace

from contexts.payments import events
from contexts.payments.interface import DisputeState, PaymentStatus
from contexts.payments.models import Payment, StaffTask
from contexts.payments.providers import ProviderAmounts
from contexts.payments.service.changes import (
    Changes,
    FoundRefund,
    LedgerMovement,
    Transition,
    compute_refundable,
    extend,
    get_value,
    pay_what_is_owed,
)
from shop.ids import uuid7
from shop.money import Money

SETTLED_STATUSES = (PaymentStatus.CAPTURED, PaymentStatus.REFUNDED)  # captured, and no operation is running


def account_for_amounts(row: Payment, transition: Transition, amounts: ProviderAmounts | None) -> Transition:
    """Extend a transition by what the provider has done by itself.

    While an operation is running, the amounts may already contain it; so they are compared once it has ended.
    """
    if amounts is None or transition.status not in SETTLED_STATUSES:
        return replace(transition, is_compared=amounts is not None)
    for account in (_account_for_capture, _account_for_refund, _account_for_dispute):
        transition = account(row, transition, amounts)
    return replace(transition, is_compared=True)


def has_moved(row: Payment, amounts: ProviderAmounts | None) -> bool:
    """Return whether the provider has refunded more, or disputed another amount, than is known here."""
    made = row.refunded + row.refunds_failed - row.refunded_elsewhere
    return amounts is not None and (amounts.refunded > made or amounts.disputed != row.disputed)


def demand_attention(row: Payment, transition: Transition, reason: StaffTask) -> Transition:
    """Make a payment a task for staff."""
    event = events.PaymentNeedsAttention(order_id=row.order_id, payment_id=row.id, reason=reason)
    return extend(transition, {"attention": reason.value}, event, alert=transition.alert or reason.value)


def book_capture(row: Payment, transition: Transition, more: int) -> Transition:
    """Extend a transition by captured money, in minor units. The task of a partial capture ends with its rest."""
    before = get_value(row, transition.changes, "captured")
    event = events.PaymentCaptured(order_id=row.order_id, payment_id=row.id, amount=Money(more, row.currency))
    booking = LedgerMovement(name=f"capture {row.version + 1}" if before else "capture", amount=more)
    transition = extend(transition, {"captured": before + more}, event, booking)
    is_task = get_value(row, transition.changes, "attention") == StaffTask.CAPTURED_IN_PART
    if before + more < row.amount or not is_task:
        return transition
    closed = events.PaymentTaskClosed(order_id=row.order_id, payment_id=row.id)
    return extend(transition, {"attention": ""}, closed)


def _account_for_capture(row: Payment, transition: Transition, amounts: ProviderAmounts) -> Transition:
    """Account for a further capture of a payment that was captured in part."""
    captured = get_value(row, transition.changes, "captured")
    more = min(amounts.captured, row.amount) - captured
    if more <= 0:
        return transition
    return replace(book_capture(row, transition, more), status=PaymentStatus.CAPTURED)


def _account_for_refund(row: Payment, transition: Transition, amounts: ProviderAmounts) -> Transition:
    captured, refunded, failed, elsewhere, waived = (
        get_value(row, transition.changes, column)
        for column in ("captured", "refunded", "refunds_failed", "refunded_elsewhere", "waived")
    )
    found = min(amounts.refunded - (refunded + failed - elsewhere), captured - refunded)
    if found <= 0:
        return transition
    refund = FoundRefund(id=uuid7(), amount=found)
    refunded += found
    changes: Changes = {"refunded": refunded, "waived": min(waived, captured - refunded)}
    changes |= pay_what_is_owed(row, transition.changes, found)
    is_resolved = compute_refundable(row, transition.changes | changes) <= 0
    if is_resolved and get_value(row, transition.changes, "attention") == StaffTask.REFUND_REFUSED:
        changes["attention"] = ""
    event = events.PaymentRefunded(
        order_id=row.order_id, payment_id=row.id, amount=Money(found, row.currency), refund_id=refund.id
    )
    transition = extend(transition, changes, event, LedgerMovement(name=str(refund.id), amount=-found))
    status = PaymentStatus.REFUNDED if refunded == captured else PaymentStatus.CAPTURED
    return replace(transition, status=status, found_refund=refund)


def _account_for_dispute(row: Payment, transition: Transition, amounts: ProviderAmounts) -> Transition:
    """Account for a dispute, which staff have to answer, and for its decision."""
    if (amounts.disputed, amounts.dispute) == (row.disputed, row.dispute):
        return transition
    more = amounts.disputed - row.disputed
    event = events.PaymentDisputed(
        order_id=row.order_id,
        payment_id=row.id,
        disputed=Money(amounts.disputed, row.currency),
        dispute=amounts.dispute,
    )
    changes: Changes = {"disputed": amounts.disputed, "dispute": amounts.dispute.value}
    attention = get_value(row, transition.changes, "attention")
    if amounts.dispute == DisputeState.WON and attention == StaffTask.DISPUTED:
        changes["attention"] = ""
    transition = extend(transition, changes, event)
    if more:
        booking = LedgerMovement(name=f"dispute {row.version + 1}", amount=more, to="disputes", source="provider")
        transition = replace(transition, bookings=(*transition.bookings, booking))
    if amounts.dispute == DisputeState.OPEN and not attention:
        return demand_attention(row, transition, StaffTask.DISPUTED)
    return transition
