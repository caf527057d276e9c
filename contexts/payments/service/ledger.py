"""The rows that belong to a payment's transition: its ledger entries and its refunds."""

from uuid import UUID

from contexts.payments.interface import RefundCause
from contexts.payments.models import ALIAS, Payment, PaymentAttempt, Refund, RefundStatus
from contexts.payments.service.changes import LedgerMovement, Transition
from shop.db.database import PreparedStatement, execute_deferred

_INSERT_BOOKING_SQL = PreparedStatement("""
INSERT INTO payments_ledgerentry (payment_id, booking, account, amount, currency)
VALUES (%(payment_id)s, %(booking)s, %(to)s, %(amount)s, %(currency)s),
       (%(payment_id)s, %(booking)s, %(source)s, -%(amount)s::bigint, %(currency)s)""")


def insert_booking(row: Payment, booking: LedgerMovement) -> None:
    """Insert both sides of a booking."""
    values = {
        "payment_id": row.id,
        "booking": booking.name,
        "to": booking.to,
        "source": booking.source,
        "amount": booking.amount,
        "currency": row.currency,
    }
    execute_deferred(ALIAS, _INSERT_BOOKING_SQL, values)


def update_refunds(before: Payment, after: Payment, transition: Transition) -> None:
    """Write the outcome of refunds: of the running one, of one that a cancel starts, of those that the provider reports."""
    if transition.refund_outcome and before.refund_id:
        Refund.objects.filter(id=before.refund_id).update(
            status=transition.refund_outcome, refusal=transition.refusal[:200]
        )
    if transition.found_refund:
        _insert_refund(
            transition.found_refund.id,
            after,
            transition.found_refund.amount,
            "Refunded at the provider.",
            RefundCause.PROVIDER,
            RefundStatus.DONE,
        )
    if transition.ended_reference:
        PaymentAttempt.objects.get_or_create(
            reference=transition.ended_reference, defaults={"payment_id": after.id, "provider": before.provider}
        )
    for failed in transition.failed_refunds:
        Refund.objects.filter(id=failed.key, status=RefundStatus.DONE).update(
            status=RefundStatus.FAILED, refusal=failed.reason[:200]
        )
    if transition.recorded_refund:
        transition.recorded_refund.save(force_insert=True)
    if transition.starts_refund and after.refund_id:
        _insert_refund(
            after.refund_id,
            after,
            after.pending,
            "The order was cancelled.",
            RefundCause.CANCELLATION,
            RefundStatus.PENDING,
        )


def _insert_refund(
    refund_id: UUID, row: Payment, amount: int, reason: str, cause: RefundCause, status: RefundStatus
) -> None:
    Refund.objects.create(
        id=refund_id,
        payment_id=row.id,
        amount=amount,
        reason=reason,
        key=str(refund_id),
        cause=cause,
        status=status,
    )
