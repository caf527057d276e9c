"""What staff do with payments: refund them, look at them."""

from uuid import UUID

from django.db import IntegrityError

from contexts.payments.models import Payment, Refund
from contexts.payments.service import books, progress
from shop.audit import audit
from shop.database import transaction
from shop.errors import Conflict, DomainError, NotFound, Unprocessable
from shop.idempotency import IdempotencyKeyReused, Key, same
from shop.ids import uuid7
from shop.money import Money


class NotRefundable(Conflict):
    """A payment that is {present} cannot be refunded."""

    present: str


class AnotherRefundRuns(Conflict):
    """Another refund of this payment is under way; try again in {retry_after} seconds."""

    retry_after: int = 1


class RefundTooLarge(Conflict):
    """Only {left} of this payment can still be refunded."""

    left: Money


class WrongCurrency(Unprocessable):
    """This payment was made in {currency}."""

    currency: str


class RefundRefused(Conflict):
    """The provider refused the refund: {reason}."""

    reason: str


def refund(*, payment_id: UUID, amount: Money | None, reason: str, actor: str, key: Key | None) -> Refund:
    """Give captured money back, all that is left or an amount of it. One refund at a time; a repeated key is the same one.

    It is `pending` where the provider has not answered yet: the reconciler goes on.
    Raises NotFound, NotRefundable, AnotherRefundRuns, RefundTooLarge, WrongCurrency, RefundRefused, IdempotencyKeyReused.
    """
    row = None
    wanted = _wanted(payment_id, reason, actor, key)
    if not _known(key):
        row = _begin(wanted, amount)
    if row:
        progress.carry_on(row)
    done = Refund.objects.get(id=wanted.id) if row else _known(key)
    if done is None:
        raise _why_not(payment_id, amount)
    if done.status == "refused":
        raise RefundRefused(reason=done.refusal)
    return done


def _wanted(payment_id: UUID, reason: str, actor: str, key: Key | None) -> Refund:
    identifier = uuid7()
    return Refund(
        id=identifier, payment_id=payment_id, reason=reason, status="pending", actor=actor,
        key=_text(key) if key else str(identifier), fingerprint=key.fingerprint if key else "",
    )  # fmt: skip


def _text(key: Key) -> str:
    return f"{key.scope} {key.key}"


def _known(key: Key | None) -> Refund | None:
    """What an earlier request with this key began."""
    found = Refund.objects.filter(key=_text(key)).first() if key else None
    if key and found and not same(found.fingerprint, key.fingerprint):
        raise IdempotencyKeyReused
    return found


def _begin(wanted: Refund, amount: Money | None) -> Payment | None:
    try:
        with transaction(books.ALIAS):
            row = books.begin_refund(wanted, amount)
            if row:
                audit(
                    books.ALIAS, actor=wanted.actor, action="refund", object_type="payment", object_id=row.id,
                    amount=wanted.amount, currency=row.currency, reason=wanted.reason,
                )  # fmt: skip
            return row
    except IntegrityError:  # the same key was first
        return None


def _why_not(payment_id: UUID, amount: Money | None) -> DomainError:
    row = books.present(id=payment_id)
    if row is None:
        return NotFound()
    if amount and amount.currency != row.currency:
        return WrongCurrency(currency=row.currency)
    if row.status not in ("captured", "refunding"):
        return NotRefundable(present=row.status)
    left = row.captured - row.refunded - row.pending
    if row.status == "captured" and (amount.amount if amount else 1) > left:
        return RefundTooLarge(left=Money(left, row.currency))
    return AnotherRefundRuns()  # or did so when this one was to begin


def details(payment_id: UUID) -> tuple[Payment, list[Refund]]:
    """A payment and its refunds. Raises NotFound."""
    row = books.present(id=payment_id)
    if row is None:
        raise NotFound
    return row, list(row.refunds.order_by("id"))


def look_now(*, payment_id: UUID, actor: str) -> None:
    """Ask the provider how a payment stands, because somebody wants to know. Raises NotFound."""
    if books.present(id=payment_id) is None:
        raise NotFound
    with transaction(books.ALIAS):
        audit(books.ALIAS, actor=actor, action="look at the provider", object_type="payment", object_id=payment_id)
    progress.look(payment_id)
