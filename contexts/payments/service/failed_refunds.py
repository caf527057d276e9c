"""Account for refunds that failed later: the provider had made them, and the customer's bank returned the money.

A refund fails once and for ever, so a repeated report changes nothing. What failed is owed to the customer: it becomes a
task for staff, and ends with another refund, by whatever means, or when staff accept it.
"""

from collections.abc import Iterable
from dataclasses import replace

from contexts.payments import events
from contexts.payments.interface import PaymentStatus, RefundCause
from contexts.payments.models import Payment, Refund, RefundStatus, StaffTask
from contexts.payments.providers import FailedRefund, ProviderAmounts
from contexts.payments.service.changes import Changes, LedgerMovement, Transition, extend, get_value
from contexts.payments.service.movements import SETTLED_STATUSES, demand_attention
from shop.money import Money

NOT_OURS = "failed_refund_of_an_unknown_refund"  # log event


def account_for_failed_refunds(
    row: Payment, transition: Transition, amounts: ProviderAmounts | None, refunds: Iterable[Refund]
) -> Transition:
    """Extend a transition by the refunds that are known as made, and failed later.

    A refund that the provider made by itself is found by its amount. While an operation is running, nothing is changed.
    """
    if amounts is None or not amounts.failed_refunds or transition.status not in SETTLED_STATUSES:
        return transition
    known = list(refunds)
    for failed in amounts.failed_refunds:
        if (refund := _find_refund(known, failed)) is None:
            transition = replace(transition, alert=transition.alert or NOT_OURS)
            continue
        known.remove(refund)
        if refund.status == RefundStatus.DONE:
            transition = _return_money(row, transition, refund, failed.reason)
    return transition


def _find_refund(refunds: Iterable[Refund], failed: FailedRefund) -> Refund | None:
    """Return the refund that failed: by its key, or, if the provider made it, by its amount, one known as failed first."""
    made = [refund for refund in refunds if refund.status in (RefundStatus.FAILED, RefundStatus.DONE)]
    for refund in made:
        if str(refund.id) == failed.key:
            return refund
    found = [one for one in made if one.cause == RefundCause.PROVIDER and one.amount == failed.amount]
    return min(found, key=lambda one: one.status != RefundStatus.FAILED, default=None)


def _return_money(row: Payment, transition: Transition, refund: Refund, reason: str) -> Transition:
    refunded, failed, owed = (
        get_value(row, transition.changes, column) for column in ("refunded", "refunds_failed", "owed")
    )
    changes: Changes = {
        "refunded": refunded - refund.amount,
        "refunds_failed": failed + refund.amount,
        "owed": owed + refund.amount,
    }
    event = events.PaymentRefundFailed(
        order_id=row.order_id,
        payment_id=row.id,
        amount=Money(refund.amount, row.currency),
        refund_id=refund.id,
        reason=reason,
    )
    booking = LedgerMovement(name=f"failed {refund.id}", amount=refund.amount)
    transition = extend(transition, changes, event, booking)
    marked = FailedRefund(key=str(refund.id), amount=refund.amount, reason=reason)
    transition = replace(transition, status=PaymentStatus.CAPTURED, failed_refunds=(*transition.failed_refunds, marked))
    if get_value(row, transition.changes, "attention") == StaffTask.REFUND_REFUSED:
        return transition  # the task that exists already refunds all that is left
    return demand_attention(row, transition, StaffTask.REFUND_FAILED)
