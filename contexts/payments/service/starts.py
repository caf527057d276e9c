"""Statements that start an operation on a payment: capture, refund and cancel.

Each is a conditional UPDATE that takes the lease: it raises `attempt`, which fences the previous holder. If it changes no
row, the operation is not possible now. So the database decides every race.
"""

from collections.abc import Sequence
from uuid import UUID

from contexts.payments.interface import PaymentMethod, PaymentStatus
from contexts.payments.models import ALIAS, Payment, Refund
from contexts.payments.service.transitions import FINAL_STATUSES, VOIDABLE_STATUSES
from shop.db.database import PreparedStatement, build_column_list, execute, fetch_instances
from shop.db.leases import LEASE_DURATION
from shop.money import Money

_BEGIN_OPERATION_SQL = f"""
UPDATE payments_payment SET {{assignments}}, version = version + 1, attempt = attempt + 1, lease_until = now() + %s,
    due_at = now(), woken = false
WHERE {{condition}} RETURNING {build_column_list(Payment)}"""
_BEGIN_CAPTURE_SQL = PreparedStatement(
    _BEGIN_OPERATION_SQL.format(
        assignments="status = 'capturing', capturing = amount, capture_attempts = capture_attempts + 1",
        condition="order_id = %s AND status = 'authorized' AND NOT cancel_wanted",
    )
)
_BEGIN_CAPTURES_SQL = PreparedStatement(
    _BEGIN_OPERATION_SQL.format(
        assignments="status = 'capturing', capturing = amount, capture_attempts = capture_attempts + 1",
        condition="""id = ANY(ARRAY(
            SELECT id FROM payments_payment WHERE order_id = ANY(%s) AND status = 'authorized' AND NOT cancel_wanted
            ORDER BY id FOR UPDATE))""",
    )
)
# Due at once for the reconciler.
_RELEASE_SQL = """
UPDATE payments_payment given SET lease_until = NULL, due_at = now()
FROM unnest(%s, %s::int[]) AS mine (id, attempt) WHERE given.id = mine.id AND given.attempt = mine.attempt"""
# Only a definite refusal is followed by another capture; a running one is repeated with its own key.
_BEGIN_RECAPTURE_SQL = _BEGIN_OPERATION_SQL.format(
    assignments="""status = 'capturing', capturing = coalesce(%s, amount - captured),
        capture_attempts = capture_attempts + 1""",
    condition="""id = %s AND NOT cancel_wanted
             AND (status IN ('authorized', 'capture_refused') OR (status = 'captured' AND captured < amount))
             AND coalesce(%s, 0) <= amount - captured AND currency = coalesce(%s, currency)""",
)
_BEGIN_REFUND_RETRY_SQL = _BEGIN_OPERATION_SQL.format(
    assignments="attention = ''",
    condition="id = %s AND status = 'captured' AND cancel_wanted AND attention IN ('refund_refused', 'refund_failed')",
)
_BEGIN_REFUND_SQL = _BEGIN_OPERATION_SQL.format(
    assignments="status = 'refunding', refund_id = %s, pending = coalesce(%s, captured - refunded - disputed)",
    condition="""id = %s AND status = 'captured' AND NOT cancel_wanted AND refunded + disputed < captured
             AND refunded + disputed + coalesce(%s, 0) <= captured AND currency = coalesce(%s, currency)""",
)

# An attempt that was authorized is captured, not replaced; one whose capture was refused takes no money.
_BEGIN_ATTEMPT_SQL = _BEGIN_OPERATION_SQL.format(
    assignments="next_attempt = %s, next_provider = %s, next_token = %s",
    condition="""id = %s AND status IN ('processing', 'unknown', 'requires_action', 'capture_refused')
             AND NOT cancel_wanted AND next_attempt IS NULL
             AND NOT (status = 'processing' AND coalesce(lease_until > now(), false))""",
)

# A running capture or refund is not interrupted: the lease holder continues with the cancel when it has the outcome.
_IS_BUSY_SQL = "(status IN ('capturing', 'refunding') AND coalesce(lease_until > now(), false))"
_REQUEST_CANCEL_SQL = f"""
UPDATE payments_payment SET cancel_wanted = true, version = version + 1, due_at = now(), woken = {_IS_BUSY_SQL},
    attempt = attempt + (NOT {_IS_BUSY_SQL})::int, lease_until = CASE WHEN {_IS_BUSY_SQL} THEN lease_until ELSE now() + %s END
WHERE order_id = %s AND NOT cancel_wanted AND NOT status = ANY(%s) RETURNING {build_column_list(Payment)}"""


def begin_capture(order_id: UUID) -> Payment | None:
    """Start the capture of an authorized payment and take its lease.

    Returns None if no payment is authorized or a cancel was requested.
    """
    return _fetch_first(_BEGIN_CAPTURE_SQL, [LEASE_DURATION, order_id])


def begin_captures(order_ids: Sequence[UUID]) -> list[Payment]:
    """Start the captures of the authorized payments of these orders and take their leases, in the order of their ids."""
    rows = fetch_instances(Payment, ALIAS, _BEGIN_CAPTURES_SQL, [LEASE_DURATION, list(order_ids)])
    return sorted(rows, key=lambda row: row.id)


def release_leases(rows: Sequence[Payment]) -> None:
    """Release the leases of payments that this worker has not processed: the reconciler processes them now."""
    if rows:
        execute(ALIAS, _RELEASE_SQL, [[row.id for row in rows], [row.attempt for row in rows]])


def begin_recapture(payment_id: UUID, amount: Money | None) -> Payment | None:
    """Start the capture of an authorized payment, another one after a refusal, or that of the rest. Take its lease.

    amount: None captures all that is not captured yet.
    Returns None if the payment is in another status, its cancel was requested, or less is left.
    """
    requested, currency = (amount.amount, amount.currency) if amount else (None, None)
    return _fetch_first(_BEGIN_RECAPTURE_SQL, [requested, LEASE_DURATION, payment_id, requested, currency])


def begin_refund_retry(payment_id: UUID) -> Payment | None:
    """Take the lease of a cancelled payment whose refund was refused or failed. None in other cases."""
    return _fetch_first(_BEGIN_REFUND_RETRY_SQL, [LEASE_DURATION, payment_id])


def begin_refund(refund: Refund, amount: Money | None) -> Payment | None:
    """Start a refund of a captured payment and take its lease. Sets the amount of `refund` and inserts it.

    amount: None refunds all that remains.
    Returns None if the payment is not captured, its cancel was requested, or less remains.
    """
    requested, currency = (amount.amount, amount.currency) if amount else (None, None)
    row = _fetch_first(
        _BEGIN_REFUND_SQL, [refund.id, requested, LEASE_DURATION, refund.payment_id, requested, currency]
    )
    if row:
        refund.amount = row.pending
        refund.save(force_insert=True)
    return row


def begin_attempt(payment_id: UUID, attempt_id: UUID, method: PaymentMethod) -> Payment | None:
    """Record the next attempt to pay, and take the lease. Returns None if the present intent may not be replaced."""
    values = [attempt_id, method.provider, method.token, LEASE_DURATION, payment_id]
    return _fetch_first(_BEGIN_ATTEMPT_SQL, values)


def request_cancel(order_id: UUID) -> Payment | None:
    """Request the cancel of an order's payment and take its lease.

    A running capture or refund keeps its lease: then `woken` of the returned row is set.
    Returns None if there is nothing to cancel, or the cancel was requested before.
    """
    return _fetch_first(_REQUEST_CANCEL_SQL, [LEASE_DURATION, order_id, list(FINAL_STATUSES)])


def request_void(order_id: UUID) -> Payment | None:
    """Request the cancel of a payment of which nothing is captured, and take its lease. Returns None in other cases."""
    others = [status for status in PaymentStatus if status not in VOIDABLE_STATUSES]
    return _fetch_first(_REQUEST_CANCEL_SQL, [LEASE_DURATION, order_id, others])


def _fetch_first(sql: str, parameters: Sequence[object]) -> Payment | None:
    return next(iter(fetch_instances(Payment, ALIAS, sql, parameters)), None)
