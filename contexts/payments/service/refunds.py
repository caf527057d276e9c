"""Use cases for staff: refund a payment, and synchronize it with its provider."""

from uuid import UUID

from django.db import IntegrityError

from contexts.payments.interface import STATUS_WORDS, PaymentStatus, RefundCause, WrongCurrency
from contexts.payments.models import ALIAS, Payment, Refund, RefundStatus
from contexts.payments.service import persistence, processing, starts
from contexts.payments.service.transitions import REFUSED_REFUNDS
from shop.audit import audit
from shop.db.database import transaction
from shop.errors import Conflict, DomainError, NotFound
from shop.http.idempotency import IdempotencyKeyReused, Key
from shop.ids import uuid7
from shop.money import Money


class NotRefundable(Conflict):
    """A payment that is {present} cannot be refunded."""

    words = STATUS_WORDS
    present: str


class AnotherRefundRuns(Conflict):
    """Another refund of this payment is in progress; try again in {retry_after:second}."""

    retry_after: int = 1


class RefundTooLarge(Conflict):
    """Only {left} of this payment can still be refunded."""

    left: Money


class RefundRefused(Conflict):
    """The provider refused the refund: {reason}."""

    reason: str


def refund(*, payment_id: UUID, amount: Money | None, reason: str, actor: str, key: Key | None) -> Refund:
    """Refund captured money. One refund of a payment runs at a time; a repeated key returns the same refund.

    amount: None refunds all that remains.
    The refund is `pending` if the provider has not responded yet; the reconciler completes it.
    Raises NotFound, NotRefundable, AnotherRefundRuns, RefundTooLarge, WrongCurrency, RefundRefused, IdempotencyKeyReused.
    """
    row = None
    new_refund = _build_refund(payment_id, reason, actor, key)
    if not _find_by_key(key):
        row = _begin_refund(new_refund, amount)
    if row:
        processing.advance_payment(row)
    refund = Refund.objects.get(id=new_refund.id) if row else _find_by_key(key)
    if refund is None:
        raise _find_refusal(payment_id, amount)
    if refund.status == RefundStatus.REFUSED:
        raise RefundRefused(reason=refund.refusal)
    return refund


def _build_refund(payment_id: UUID, reason: str, actor: str, key: Key | None) -> Refund:
    refund_id = uuid7()
    return Refund(
        id=refund_id,
        payment_id=payment_id,
        reason=reason,
        status=RefundStatus.PENDING,
        cause=RefundCause.STAFF,
        actor=actor,
        key=_serialize_key(key) if key else str(refund_id),
        fingerprint=key.fingerprint if key else "",
    )


def _serialize_key(key: Key) -> str:
    return f"{key.scope} {key.key}"


def _find_by_key(key: Key | None) -> Refund | None:
    """Return the refund that an earlier request with this key started. Raises IdempotencyKeyReused."""
    found = Refund.objects.filter(key=_serialize_key(key)).first() if key else None
    if key and found and not key.has_fingerprint(found.fingerprint):
        raise IdempotencyKeyReused
    return found


def _begin_refund(new_refund: Refund, amount: Money | None) -> Payment | None:
    try:
        with transaction(ALIAS):
            row = starts.begin_refund(new_refund, amount)
            if row:
                audit(
                    ALIAS,
                    actor=new_refund.actor,
                    action="refund",
                    object_type="payment",
                    object_id=row.id,
                    amount=new_refund.amount,
                    currency=row.currency,
                    reason=new_refund.reason,
                )
            return row
    except IntegrityError:  # a concurrent request with the same key was first
        return None


def _find_refusal(payment_id: UUID, amount: Money | None) -> DomainError:
    row = persistence.find_payment(payment_id)
    if row is None:
        return NotFound()
    if amount and amount.currency != row.currency:
        return WrongCurrency(currency=row.currency, requested=amount.currency)
    if row.status not in (PaymentStatus.CAPTURED, PaymentStatus.REFUNDING):
        return NotRefundable(present=row.status)
    if row.cancel_wanted and row.attention in REFUSED_REFUNDS:
        return NotRefundable(present="a task for staff")
    remaining = row.refundable - row.pending
    if row.status == PaymentStatus.CAPTURED and (amount.amount if amount else 1) > remaining:
        return RefundTooLarge(left=Money(remaining, row.currency))
    return AnotherRefundRuns()  # it runs now, or ran when this refund was to start


def get_with_refunds(payment_id: UUID) -> tuple[Payment, list[Refund]]:
    """Return a payment and its refunds. Raises NotFound."""
    row = persistence.get_payment(payment_id)
    return row, list(row.refunds.order_by("id"))


def sync_now(*, payment_id: UUID, actor: str) -> None:
    """Synchronize a payment with its provider on request of staff. Raises NotFound."""
    persistence.get_payment(payment_id)
    processing.sync_payment(payment_id)
    with transaction(ALIAS):
        audit(ALIAS, actor=actor, action="look at the provider", object_type="payment", object_id=payment_id)
