"""Use cases for other contexts: authorize, capture and cancel. The order id is the key of each."""

from uuid import UUID

from django.conf import settings

from contexts.payments import events, interface, providers
from contexts.payments.interface import (
    Action,
    Attention,
    DisputeState,
    NotCapturable,
    PaymentMethod,
    PaymentStatus,
    RefundCause,
    WrongCurrency,
)
from contexts.payments.models import ALIAS, Payment, Refund, RefundStatus, StaffTask
from contexts.payments.service import persistence, processing, starts
from contexts.payments.service.transitions import CAPTURE_STARTED_STATUSES, FINAL_STATUSES, OPEN_STATUSES, is_undone
from shop.db.database import transaction
from shop.errors import Closed, NotFound
from shop.ids import uuid7
from shop.messaging.outbox import publish
from shop.money import Money


def authorize(
    order_id: UUID, amount: Money, method: PaymentMethod, customer_id: UUID | None, order_number: str = ""
) -> interface.Payment:
    """Authorize the payment of an order. The row is committed first, so that the reconciler can resume after a crash."""
    if amount.currency != settings.CURRENCY:
        return _report_existing(order_id, amount)  # of an order that was placed before CURRENCY was changed
    row = _build_payment(order_id, amount, method, customer_id, order_number)
    provider = providers.find(method.provider)
    if provider is None:
        return _decline_unknown_provider(row, amount)
    row.token, row.reference = method.token, provider.reference(row.id)
    if not persistence.insert_payment(row):
        return _report_existing(order_id, amount)
    after = processing.advance_payment(row, first_call=processing.confirm)
    return _to_payment_unless_cancelled(after)


def _build_payment(
    order_id: UUID, amount: Money, method: PaymentMethod, customer_id: UUID | None, order_number: str
) -> Payment:
    return Payment(
        id=uuid7(),
        order_id=order_id,
        order_number=order_number[:12],
        customer_id=customer_id,
        provider=method.provider[:50],
        status=PaymentStatus.PROCESSING.value,
        amount=amount.amount,
        currency=amount.currency,
        attempt=1,
    )


def _decline_unknown_provider(row: Payment, amount: Money) -> interface.Payment:
    row.status, row.reason, row.sequence = PaymentStatus.DECLINED, "unknown_provider", 1
    with transaction(ALIAS):
        if persistence.insert_payment(row):
            publish(events.PaymentDeclined(order_id=row.order_id, payment_id=row.id, reason=row.reason), row=row)
            return to_payment(row)
    return _report_existing(row.order_id, amount)


def _report_existing(order_id: UUID, amount: Money) -> interface.Payment:
    """Return the payment that an order has. Raises WrongCurrency if it has none in this currency, and Closed."""
    row = persistence.find_payment_of_order(order_id)
    if row is None or (row.currency != amount.currency and not row.cancel_wanted):
        raise WrongCurrency(currency=row.currency if row else settings.CURRENCY, requested=amount.currency)
    return _to_payment_unless_cancelled(row)


def _to_payment_unless_cancelled(row: Payment) -> interface.Payment:
    if row.cancel_wanted:
        raise Closed(key=str(row.order_id))
    return to_payment(row)


def capture(order_id: UUID) -> interface.Payment:
    """Capture the authorized payment of an order. Raises NotCapturable."""
    row = starts.begin_capture(order_id)
    if row:
        return to_payment(processing.advance_payment(row))
    row = persistence.find_payment_of_order(order_id)
    if row and row.status == PaymentStatus.AUTHORIZED and not row.cancel_wanted:
        return capture(order_id)  # another attempt was authorized between the two statements
    is_paid_again = row is not None and row.status in OPEN_STATUSES and row.capture_attempts > 0
    if row is None or not (row.status in CAPTURE_STARTED_STATUSES or is_paid_again):
        raise NotCapturable(present=row.status if row else "missing")
    return to_payment(row)


def cancel(order_id: UUID) -> interface.Payment | None:
    """Void or refund the payment of an order. Leave a tombstone if there is none yet."""
    row = starts.request_cancel(order_id)
    if row:
        return to_payment(row if row.woken else processing.advance_payment(row))
    if persistence.insert_payment(_build_tombstone(order_id)):
        return None
    row = Payment.objects.get(order_id=order_id)
    if not row.cancel_wanted and row.status not in FINAL_STATUSES:  # it was inserted between the two statements
        return cancel(order_id)
    return to_payment(row) if row.provider else None


def _build_tombstone(order_id: UUID) -> Payment:
    return Payment(
        id=uuid7(),
        order_id=order_id,
        status=PaymentStatus.VOIDED,
        amount=0,
        currency=settings.CURRENCY,
        cancel_wanted=True,
    )


def of_orders(order_ids: tuple[UUID, ...]) -> tuple[interface.Payment, ...]:
    """Return the payments of these orders. Tombstones are omitted."""
    found = Payment.objects.filter(order_id__in=order_ids).exclude(provider="")
    return tuple(to_payment(row) for row in found)


def refunds_of_orders(order_ids: tuple[UUID, ...]) -> tuple[interface.Refund, ...]:
    """Return the refunds that were made of the payments of these orders, the oldest first; failed ones, too."""
    statuses = (RefundStatus.DONE, RefundStatus.FAILED)
    made = Refund.objects.filter(payment__order_id__in=order_ids, status__in=statuses)
    return tuple(_to_refund(refund) for refund in made.select_related("payment").order_by("id"))


def to_payment(row: Payment) -> interface.Payment:
    """Convert a payment's row to the DTO of the interface."""
    status = PaymentStatus(row.status)
    needs_action = status == PaymentStatus.REQUIRES_ACTION
    return interface.Payment(
        id=row.id,
        order_id=row.order_id,
        status=status,
        amount=Money(row.amount, row.currency),
        refunded=Money(row.refunded, row.currency),
        action=Action(type="redirect", url=row.action_url) if needs_action else None,
        reason=row.reason,
        version=row.sequence,
        captured=Money(row.captured, row.currency),
        disputed=Money(row.disputed, row.currency),
        dispute=DisputeState(row.dispute),
        attention=_to_attention(row),
        task=row.attention,
        is_undone=is_undone(row),
    )


def _to_attention(row: Payment) -> Attention | None:
    """Return the task of a payment in the words that a process of an older release knows, too."""
    if row.attention == StaffTask.REFUND_FAILED:
        return Attention.REFUND_REFUSED
    return Attention(row.attention) if row.attention else None


def _to_refund(refund: Refund) -> interface.Refund:
    # Rows of an older release have no cause.
    cause = refund.cause or (RefundCause.STAFF if refund.actor else RefundCause.CANCELLATION)
    return interface.Refund(
        id=refund.id,
        order_id=refund.payment.order_id,
        amount=Money(refund.amount, refund.payment.currency),
        cause=RefundCause(cause),
        is_failed=refund.status == RefundStatus.FAILED,
    )


def sync(order_id: UUID) -> interface.Payment | None:
    """Ask the provider of an order's payment for its state now. None without a payment. Raises Unavailable."""
    row = persistence.find_payment_of_order(order_id)
    if row is None or not row.reference:
        return to_payment(row) if row and row.provider else None
    return to_payment(processing.ask_provider(row.id))


def sync_by_reference(reference: str) -> interface.Payment:
    """Synchronize a payment with its provider after a notification, which by itself proves nothing. Raises NotFound."""
    row = _find_by_reference(reference)
    return to_payment(processing.sync_payment(row.id) or row)


def get_by_reference(reference: str) -> interface.Payment:
    """Return the payment with this reference at its provider, without asking the provider. Raises NotFound."""
    return to_payment(_find_by_reference(reference))


def _find_by_reference(reference: str) -> Payment:
    row = persistence.find_payment_by_reference(reference)
    if row is None:
        raise NotFound
    return row
