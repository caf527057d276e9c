"""Payments that staff have to decide about, and what they can do: retry, record another way of paying back, or accept."""

from dataclasses import replace
from uuid import UUID

from django.db.models import QuerySet

from contexts.payments import events
from contexts.payments.interface import PaymentStatus, RefundCause
from contexts.payments.models import ALIAS, Payment, Refund, RefundStatus, StaffTask
from contexts.payments.service import persistence, processing, refunds, starts
from contexts.payments.service.changes import Changes, LedgerMovement, Transition, pay_what_is_owed
from contexts.payments.service.transitions import REFUSED_REFUNDS
from shop.audit import audit
from shop.db import leases
from shop.db.database import NoRowChanged, transaction
from shop.errors import Conflict, Invalid, Unavailable
from shop.http.idempotency import Key
from shop.ids import uuid7
from shop.money import Money


class NoDecisionNeeded(Conflict):
    """This payment does not wait for a decision of staff."""


class NothingToRefund(Conflict):
    """Nothing of this payment is left to refund."""


class PaymentChanged(Conflict):
    """The payment was changed meanwhile. Look at it again before you decide."""


class ReasonMissing(Invalid):
    """Give a reason: it is kept in the audit trail."""


def list_open() -> QuerySet[Payment]:
    """Return the payments that staff have to decide about, the oldest first."""
    return Payment.objects.exclude(attention="").order_by("id")


def retry(*, payment_id: UUID, actor: str) -> Payment:
    """Ask the provider again, and refund again what it refused to refund, or what the customer's bank returned.

    Raises NotFound, NoDecisionNeeded, and for what the bank returned what `refunds.refund` raises.
    """
    _get_open(payment_id)
    processing.sync_payment(payment_id)
    retry_refund(payment_id, actor=actor)
    number = Refund.objects.filter(payment_id=payment_id).count()  # before the row is read: see `_refund_again`
    row = persistence.get_payment(payment_id)
    if row.attention == StaffTask.REFUND_FAILED and row.status == PaymentStatus.CAPTURED and not row.cancel_wanted:
        _refund_again(row, number, actor)
    return persistence.get_payment(payment_id)


def _refund_again(row: Payment, number: int, actor: str) -> None:
    """Refund what the customer's bank returned.

    number: of refunds that the payment had before `row` was read. It makes the key the same for concurrent retries, and
    another one after a refusal. A retry that counts a newer refund sees in the row that it is running or made.
    """
    key = Key(scope="refund again", key=f"{row.id} {number}", fingerprint="")
    owed = Money(_get_amount_to_pay(row), row.currency)
    refunds.refund(payment_id=row.id, amount=owed, reason="An earlier refund failed.", actor=actor, key=key)


def _get_amount_to_pay(row: Payment) -> int:
    """Return what the task is about, in minor units: refunds that failed, or all that is left."""
    return min(row.owed, row.refundable) if row.attention == StaffTask.REFUND_FAILED else row.refundable


def retry_refund(payment_id: UUID, *, actor: str = "") -> None:
    """Refund a cancelled payment again whose refund was refused or failed later. Does nothing in other cases.

    actor: the member of staff who retries, for the audit trail; empty for the schedule.
    """
    with transaction(ALIAS):
        row = starts.begin_refund_retry(payment_id)
        if actor:
            audit(ALIAS, actor=actor, action="retry", object_type="payment", object_id=payment_id)
    if row:
        processing.advance_payment(row, report_by=processing.ReportBy.EVENT)


def mark_refunded(*, payment_id: UUID, reason: str, actor: str, amount: Money | None = None) -> Payment:
    """Record that staff have paid back by other means what the provider refuses to refund.

    amount: by default all that is left to refund, or that failed later. reason: how and when it was paid, for the audit trail.
    Raises NotFound, NoDecisionNeeded, NothingToRefund, ReasonMissing.
    """
    row = _acquire(payment_id, reason)
    value = _get_amount_to_pay(row) if amount is None else amount.amount
    is_valid = row.status == PaymentStatus.CAPTURED and 0 < value <= row.refundable
    if not is_valid or (amount and amount.currency != row.currency):
        _release(row)
        raise NothingToRefund
    refund = Refund(
        id=uuid7(), payment_id=row.id, amount=value, reason=reason[:200], actor=actor,
        cause=RefundCause.OTHER_MEANS, status=RefundStatus.DONE,
    )  # fmt: skip
    refund.key = str(refund.id)
    return _decide(row, _build_refund(row, refund), "mark_refunded", actor, reason, refund)


def accept(*, payment_id: UUID, reason: str, actor: str) -> Payment:
    """Close a task without a further movement of money: what is left is not refunded, or the dispute is taken note of.

    Raises NotFound, NoDecisionNeeded, ReasonMissing.
    """
    row = _acquire(payment_id, reason)
    changes: Changes = {"attention": "", "owed": 0}
    if row.cancel_wanted and row.attention in REFUSED_REFUNDS:
        changes["waived"] = row.waived + row.refundable
    event = events.PaymentTaskClosed(order_id=row.order_id, payment_id=row.id)
    transition = Transition(status=PaymentStatus(row.status), changes=changes, events=(event,))
    return _decide(row, transition, "accept", actor, reason)


def _build_refund(row: Payment, refund: Refund) -> Transition:
    refunded, elsewhere = row.refunded + refund.amount, row.refunded_elsewhere + refund.amount
    changes: Changes = {"refunded": refunded, "refunded_elsewhere": elsewhere}
    changes |= pay_what_is_owed(row, {}, refund.amount)
    if refund.amount == row.refundable:
        changes["attention"] = ""
    event = events.PaymentRefunded(
        order_id=row.order_id, payment_id=row.id, amount=Money(refund.amount, row.currency), refund_id=refund.id
    )
    return Transition(
        status=PaymentStatus.REFUNDED if refunded == row.captured else PaymentStatus.CAPTURED,
        changes=changes,
        events=(event,),
        bookings=(LedgerMovement(name=str(refund.id), amount=-refund.amount, to="other_means"),),
    )


def _acquire(payment_id: UUID, reason: str) -> Payment:
    """Take the lease of a payment that waits for a decision."""
    if not reason.strip():
        raise ReasonMissing
    _get_open(payment_id)
    row = leases.acquire_lease(Payment, ALIAS, payment_id)
    if row is None:
        raise Unavailable(what="The payment, which a worker is processing,")
    if not row.attention:
        _release(row)
        raise NoDecisionNeeded
    return row


def _release(row: Payment) -> None:
    persistence.save_transition(row, Transition(status=PaymentStatus(row.status), changes={}))


def _decide(
    row: Payment, transition: Transition, action: str, actor: str, reason: str, refund: Refund | None = None
) -> Payment:
    """Write a decision with its refund and audit entry, in one transaction."""
    try:
        with transaction(ALIAS):
            after = persistence.write_transition(row, replace(transition, recorded_refund=refund))
            audit(
                ALIAS,
                actor=actor,
                action=action,
                object_type="payment",
                object_id=row.id,
                amount=refund.amount if refund else after.waived - row.waived,
                currency=row.currency,
                reason=reason,
            )
            return after
    except NoRowChanged:
        raise PaymentChanged from None


def _get_open(payment_id: UUID) -> Payment:
    row = persistence.get_payment(payment_id)
    if not row.attention:
        raise NoDecisionNeeded
    return row
