"""The rows that belong to a payment's transition: its ledger entries and its refunds."""

from contexts.payments.models import ALIAS, Payment, Refund, RefundStatus
from contexts.payments.service.transitions import LedgerMovement, Transition
from shop.db.database import PreparedStatement, execute_deferred

_INSERT_BOOKING_SQL = PreparedStatement("""
INSERT INTO payments_ledgerentry (payment_id, booking, account, amount, currency)
VALUES (%(payment_id)s, %(booking)s, 'provider', %(amount)s, %(currency)s),
       (%(payment_id)s, %(booking)s, 'sales', -%(amount)s::bigint, %(currency)s)""")


def insert_booking(row: Payment, booking: LedgerMovement) -> None:
    """Insert both sides of a booking."""
    values = {
        "payment_id": row.id,
        "booking": booking.name,
        "amount": booking.amount,
        "currency": row.currency,
    }
    execute_deferred(ALIAS, _INSERT_BOOKING_SQL, values)


def update_refunds(before: Payment, after: Payment, transition: Transition) -> None:
    """Write the outcome of the running refund, and insert the refund that a cancel starts."""
    if transition.refund_outcome and before.refund_id:
        Refund.objects.filter(id=before.refund_id).update(
            status=transition.refund_outcome, refusal=transition.refusal[:200]
        )
    if transition.starts_refund:
        Refund.objects.create(
            id=before.id,
            payment_id=before.id,
            amount=after.pending,
            reason="The order was cancelled.",
            key=str(before.id),
            status=RefundStatus.PENDING,
        )
