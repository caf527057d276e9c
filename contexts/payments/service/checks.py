"""Compare settled payments with their providers, and try again what a provider has refused."""

from uuid import UUID

from contexts.payments.interface import PaymentStatus
from contexts.payments.models import ALIAS, Payment, StaffTask
from contexts.payments.service import captures, processing, tasks
from shop.db import leases
from shop.db.database import fetch_rows

BATCH_SIZE = 20  # payments per run of the timer

_SELECT_DUE_SQL = """
SELECT id FROM payments_payment
WHERE check_at <= now() AND (lease_until IS NULL OR lease_until <= now()) ORDER BY check_at LIMIT %s"""


def check_due() -> None:
    """Check the payments whose check is due. `persistence` schedules the next one with each change of a payment."""
    due = [payment_id for (payment_id,) in fetch_rows(ALIAS, _SELECT_DUE_SQL, [BATCH_SIZE])]
    leases.process_rows(Payment, due, _check)


def _check(payment_id: UUID) -> None:
    row = processing.sync_payment(payment_id)
    if row and row.status == PaymentStatus.CAPTURE_REFUSED:
        captures.recapture(payment_id)
    elif row and row.attention == StaffTask.REFUND_REFUSED:
        tasks.retry_refund(payment_id)
