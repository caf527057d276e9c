"""The row of a payment: insert it, find it, and write its transitions. `starts` has the statements that start operations.

A transition is written on condition that `attempt` and `version` are still the ones that were read. So the database
decides every race.
"""

from datetime import timedelta
from uuid import UUID

from django.conf import settings

from contexts.payments.interface import PaymentStatus
from contexts.payments.models import ALIAS, Payment
from contexts.payments.service.changes import Transition
from contexts.payments.service.ledger import insert_booking, update_refunds
from contexts.payments.service.transitions import RECONCILED_STATUSES
from shop.db.database import (
    NoRowChanged,
    PreparedStatement,
    execute,
    execute_or_abort,
    transaction,
)
from shop.db.leases import LEASE_DURATION, backoff
from shop.errors import NotFound
from shop.messaging.outbox import publish

# A payment that waits for its customer is polled this many times less often than one with an unknown outcome, because
# the provider's page triggers a check when the customer has decided.
CUSTOMER_ACTION_DELAY_FACTOR = 15

CHECKED_STATUSES = (  # settled, but the provider may move money by itself
    PaymentStatus.AUTHORIZED,
    PaymentStatus.CAPTURED,
    PaymentStatus.CAPTURE_REFUSED,
    PaymentStatus.DECLINED,
    PaymentStatus.VOIDED,
    PaymentStatus.REFUNDED,
)

_NEW_ROW_COLUMNS = (
    "id",
    "order_id",
    "order_number",
    "customer_id",
    "provider",
    "token",
    "status",
    "amount",
    "currency",
    "reason",
    "reference",
    "cancel_wanted",
    "sequence",
)
_INSERT_VALUES = {
    **{column: f"%({column})s" for column in _NEW_ROW_COLUMNS},
    **dict.fromkeys(("authorized", "captured", "refunded", "pending"), "0"),
    "action_url": "''",
    "version": "1",
    "attempt": "1",
    "lease_until": "now() + %(lease)s::interval",
    "due_at": "now() + %(delay)s::interval",
}
_INSERT_SQL = PreparedStatement(f"""
INSERT INTO payments_payment ({", ".join(_INSERT_VALUES)}) VALUES ({", ".join(_INSERT_VALUES.values())})
ON CONFLICT (order_id) DO NOTHING""")

_STATE_COLUMNS = (
    "status",
    "token",
    "provider",
    "reference",
    "next_attempt",
    "next_provider",
    "next_token",
    "authorized",
    "captured",
    "refunded",
    "refunded_elsewhere",
    "waived",
    "disputed",
    "dispute",
    "attention",
    "capturing",
    "refunds_failed",
    "owed",
    "pending",
    "refund_id",
    "reason",
    "action_url",
    "cancel_wanted",
    "sequence",
)
# Each takes its values of `_to_saved_values`.
_SAVED_VALUES = {
    **dict.fromkeys(_STATE_COLUMNS, "%s"),
    "lease_until": "CASE WHEN %s THEN lease_until END",
    "due_at": "CASE WHEN woken THEN now() ELSE now() + %s::interval END",
    "checked_at": "CASE WHEN %s THEN now() ELSE checked_at END",
    "check_at": """CASE WHEN %s AND created_at > now() - %s::interval
                        THEN now() + greatest(%s::interval, (now() - created_at) * %s) END""",
}
_SAVE_SQL = f"""
UPDATE payments_payment SET {", ".join(f"{column} = {value}" for column, value in _SAVED_VALUES.items())},
    version = version + 1, woken = false
WHERE id = %s AND attempt = %s AND version = %s"""


def insert_payment(row: Payment) -> bool:
    """Insert a new payment. Returns False if its order already has one."""
    is_leased = row.status == PaymentStatus.PROCESSING
    lease, delay = (LEASE_DURATION, timedelta(0)) if is_leased else (None, None)
    return execute(ALIAS, _INSERT_SQL, {**vars(row), "lease": lease, "delay": delay}) == 1


def find_payment(payment_id: UUID) -> Payment | None:
    """Return the current row of a payment."""
    return Payment.objects.filter(id=payment_id).first()


def get_payment(payment_id: UUID) -> Payment:
    """Return the current row of a payment. Raises NotFound."""
    row = find_payment(payment_id)
    if row is None:
        raise NotFound
    return row


def find_payment_of_order(order_id: UUID) -> Payment | None:
    """Return the current row of an order's payment."""
    return Payment.objects.filter(order_id=order_id).first()


def find_payment_by_reference(reference: str) -> Payment | None:
    """Return the current row of the payment with this reference at its provider."""
    return Payment.objects.filter(reference=reference).first()


def reload_if_held(row: Payment) -> Payment | None:
    """Return the current row. Returns None if another worker has taken the lease."""
    return Payment.objects.filter(id=row.id, attempt=row.attempt).first()


def save_transition(row: Payment, transition: Transition) -> Payment | None:
    """Write a transition with its events, bookings and refunds. Returns None if the payment has changed."""
    try:
        with transaction(ALIAS):
            return write_transition(row, transition)
    except NoRowChanged:
        return None


def write_transition(row: Payment, transition: Transition) -> Payment:
    """Write a transition in the open transaction, which is aborted with NoRowChanged if the payment has changed."""
    after = _apply_transition(row, transition)
    values = _to_saved_values(after, transition)
    execute_or_abort(ALIAS, "payment", _SAVE_SQL, [*values, row.id, row.attempt, row.version])
    for booking in transition.bookings:
        insert_booking(row, booking)
    update_refunds(row, after, transition)
    publish(*transition.events, row=after)
    return after


def _apply_transition(row: Payment, transition: Transition) -> Payment:
    after = Payment.__new__(Payment)  # all columns are those of the row: defaults would cost more than the rest
    vars(after).update(
        vars(row),
        **transition.changes,
        status=transition.status.value,  # a plain string, as a row from the database has: psycopg adapts it faster
        version=row.version + 1,
        sequence=row.sequence + len(transition.events),
    )
    return after


def _to_saved_values(after: Payment, transition: Transition) -> list[object]:
    """Return the values of _SAVED_VALUES, in its order. A check without a response is repeated after one interval."""
    window, interval = timedelta(days=settings.PAYMENT_CHECK_DAYS), timedelta(seconds=settings.PAYMENT_CHECK_SECONDS)
    values = {
        **vars(after),
        "reason": after.reason[:200],
        "lease_until": transition.continues,
        "due_at": timedelta(0) if transition.continues else _get_retry_delay(after),
        "checked_at": transition.is_compared,
    }
    is_checked = after.status in CHECKED_STATUSES and not transition.continues
    return [
        *(values[column] for column in _SAVED_VALUES if column != "check_at"),
        *(is_checked, window, interval, int(transition.is_compared or bool(transition.events))),
    ]


def _get_retry_delay(row: Payment) -> timedelta | None:
    """Return the time until the reconciler processes the payment. Returns None if no reconciliation is needed."""
    if row.status == PaymentStatus.REQUIRES_ACTION and not row.next_attempt:
        return timedelta(seconds=CUSTOMER_ACTION_DELAY_FACTOR * settings.RECONCILE_SECONDS)
    if row.status in RECONCILED_STATUSES or row.next_attempt:
        return backoff(row.attempt - 1, first=settings.RECONCILE_SECONDS)
    return None
