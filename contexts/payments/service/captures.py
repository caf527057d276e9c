"""Use cases for staff: capture an authorized payment in full or in part, again after a refusal, or void it."""

from collections.abc import Callable
from uuid import UUID

from contexts.payments.interface import STATUS_WORDS, NotCapturable, PaymentStatus, WrongCurrency
from contexts.payments.models import ALIAS, Payment
from contexts.payments.service import persistence, processing, starts
from contexts.payments.service.transitions import CAPTURE_STARTED_STATUSES, is_capturable
from shop.audit import audit
from shop.db.database import transaction
from shop.errors import Conflict
from shop.http import idempotency
from shop.http.idempotency import Key
from shop.money import Money


class CaptureRefused(Conflict):
    """The provider refused the capture: {reason}."""

    reason: str


class CaptureTooLarge(Conflict):
    """Only {left} of this payment can still be captured."""

    left: Money


class PaymentIsBusy(Conflict):
    """The payment is being compared with its provider; try again in {retry_after:second}."""

    retry_after: int = 1


class NotVoidable(Conflict):
    """A payment that is {present} cannot be voided. Refund it instead, if it was captured."""

    words = STATUS_WORDS
    present: str


def capture(*, payment_id: UUID, actor: str, key: Key | None = None, amount: Money | None = None) -> Payment:
    """Capture an authorized payment, or try a refused capture once more, on request of staff.

    amount: None captures all that is not captured yet. A payment of which a part is captured is a task for staff, who may
    capture the rest; its order stays on hold until then.
    The provider is asked first, so that what it captured or released meanwhile is not captured again. A repeat with the
    same key starts no other capture. The payment is `capturing` if the provider has not responded yet.
    Raises NotFound, NotCapturable, CaptureTooLarge, WrongCurrency, CaptureRefused, PaymentIsBusy, IdempotencyKeyReused.
    """
    persistence.get_payment(payment_id)
    if not _is_repeat(key) and not _start_capture(payment_id, actor, key, amount) and not _is_repeat(key):
        _refuse_capture(persistence.get_payment(payment_id), amount)
    row = persistence.get_payment(payment_id)
    if row.status == PaymentStatus.CAPTURE_REFUSED or (row.status == PaymentStatus.CAPTURED and row.reason):
        raise CaptureRefused(reason=row.reason)
    if row.status not in CAPTURE_STARTED_STATUSES:
        raise NotCapturable(present=row.status)
    return row


def recapture(payment_id: UUID) -> None:
    """Ask the provider, then capture a payment that is authorized or whose capture was refused."""
    _start_capture(payment_id, actor="", key=None, amount=None)


def void(*, payment_id: UUID, actor: str, key: Key | None = None) -> Payment:
    """Release the authorized money of a payment on request of staff; orders then cancels the order.

    Raises NotFound, NotVoidable, IdempotencyKeyReused.
    """
    row = persistence.get_payment(payment_id)
    order_id = row.order_id
    if not _is_repeat(key):
        started = _begin(payment_id, "void", actor, key, lambda: starts.request_void(order_id))
        if started:
            processing.advance_payment(started, report_by=processing.ReportBy.EVENT)
        elif not _is_repeat(key):  # no other request with this key was first
            raise NotVoidable(present=persistence.get_payment(payment_id).status)
    return persistence.get_payment(payment_id)


def _start_capture(payment_id: UUID, actor: str, key: Key | None, amount: Money | None) -> bool:
    """Ask the provider, then start a capture. Return False if the payment is not to be captured, or is processed now."""
    if processing.sync_payment(payment_id) is None:
        return False
    row = _begin(payment_id, "capture", actor, key, lambda: starts.begin_recapture(payment_id, amount))
    if row:
        processing.advance_payment(row, report_by=processing.ReportBy.EVENT)
    return row is not None


def _begin(
    payment_id: UUID, action: str, actor: str, key: Key | None, start: Callable[[], Payment | None]
) -> Payment | None:
    """Start an operation, and write its key and audit entry, in one transaction: a crash leaves all of them or none.

    Return None if the operation is not possible; then nothing is written. The schedule, without an actor, is not audited.
    """
    with transaction(ALIAS):
        row = start()
        if row and key:
            idempotency.record(ALIAS, key, resource=payment_id)
        if row and actor:
            detail = {"amount": row.capturing, "currency": row.currency} if row.capturing else {}
            audit(ALIAS, actor=actor, action=action, object_type="payment", object_id=payment_id, **detail)
        return row


def _refuse_capture(row: Payment, amount: Money | None) -> None:
    """Raise the reason why no capture was started. Do nothing if one was started before: its outcome is the response."""
    left = row.amount - row.captured
    if amount and amount.currency != row.currency:
        raise WrongCurrency(currency=row.currency, requested=amount.currency)
    if amount and amount.amount > left and row.status in (*CAPTURE_STARTED_STATUSES, PaymentStatus.AUTHORIZED):
        raise CaptureTooLarge(left=Money(left, row.currency))
    if is_capturable(row):
        raise PaymentIsBusy


def _is_repeat(key: Key | None) -> bool:
    return key is not None and idempotency.find(ALIAS, key) is not None
