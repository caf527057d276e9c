"""Use cases for staff: capture an authorized payment, again after a refusal, or void it."""

from uuid import UUID

from contexts.payments.interface import NotCapturable, PaymentStatus
from contexts.payments.models import ALIAS, Payment
from contexts.payments.service import operations, persistence, processing
from contexts.payments.service.transitions import CAPTURE_STARTED_STATUSES, VOIDABLE_STATUSES
from shop.audit import audit
from shop.db.database import transaction
from shop.errors import Conflict
from shop.http import idempotency
from shop.http.idempotency import Key


class CaptureRefused(Conflict):
    """The provider refused the capture: {reason}."""

    reason: str


class NotVoidable(Conflict):
    """A payment that is {present} cannot be voided. Refund it instead, if it was captured."""

    present: str


def capture(*, payment_id: UUID, actor: str, key: Key | None = None) -> Payment:
    """Capture an authorized payment, or try a refused capture once more, on request of staff.

    The provider is asked first, so that what it captured or released meanwhile is not captured again. A repeat with the
    same key starts no other capture. The payment is `capturing` if the provider has not responded yet.
    Raises NotFound, NotCapturable, CaptureRefused, IdempotencyKeyReused.
    """
    if not _is_repeat(key):
        _record(payment_id, "capture", actor, key)
        recapture(payment_id)
    row = persistence.get_payment(payment_id)
    if row.status == PaymentStatus.CAPTURE_REFUSED:
        raise CaptureRefused(reason=row.reason)
    if row.status not in CAPTURE_STARTED_STATUSES:
        raise NotCapturable(present=row.status)
    return row


def recapture(payment_id: UUID) -> None:
    """Ask the provider, then capture a payment that is authorized or whose capture was refused."""
    row = processing.sync_payment(payment_id)
    row = row and persistence.begin_recapture(payment_id)
    if row:
        processing.advance_payment(row, report_by=processing.ReportBy.EVENT)


def void(*, payment_id: UUID, actor: str, key: Key | None = None) -> Payment:
    """Release the authorized money of a payment on request of staff; orders then cancels the order.

    Raises NotFound, NotVoidable, IdempotencyKeyReused.
    """
    row = persistence.get_payment(payment_id)
    if not _is_repeat(key):
        if row.status not in VOIDABLE_STATUSES:
            raise NotVoidable(present=row.status)
        _record(payment_id, "void", actor, key)
        operations.cancel(row.order_id, report_by=processing.ReportBy.EVENT)
    return persistence.get_payment(payment_id)


def _is_repeat(key: Key | None) -> bool:
    return key is not None and idempotency.find(ALIAS, key) is not None


def _record(payment_id: UUID, action: str, actor: str, key: Key | None) -> None:
    """Write the audit entry and the key of a request, before it calls the provider."""
    persistence.get_payment(payment_id)
    with transaction(ALIAS):
        if key:
            idempotency.record(ALIAS, key, resource=payment_id)
        audit(ALIAS, actor=actor, action=action, object_type="payment", object_id=payment_id)
