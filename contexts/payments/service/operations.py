"""What other contexts ask of payments: authorize, capture, cancel. The order is the key of each."""

from uuid import UUID

from django.conf import settings

from contexts.payments import events, interface, providers
from contexts.payments.interface import Action, NotCapturable, PaymentMethod
from contexts.payments.models import Payment
from contexts.payments.service import books, progress
from contexts.payments.service.states import FINAL
from shop.database import transaction
from shop.errors import Closed, NotFound
from shop.ids import uuid7
from shop.money import Money
from shop.outbox import publish

CAPTURE_BEGAN = ("capturing", "captured", "capture_refused", "refunding", "refunded")


def authorize(
    order_id: UUID, amount: Money, method: PaymentMethod, customer_id: UUID | None
) -> interface.Payment:
    """The row is committed before the provider is called, so that whatever happens there is found by it."""
    row = _new(order_id, amount, method, customer_id)
    provider = providers.find(method.provider)
    if provider is None:
        return _decline_unknown_provider(row)
    row.token, row.reference = method.token, provider.reference(row.id)
    if not books.insert(row):
        return _as_authorized(order_id)
    after = progress.carry_on(row, first=progress.confirm)
    return _unless_closed(after)


def _new(order_id: UUID, amount: Money, method: PaymentMethod, customer_id: UUID | None) -> Payment:
    return Payment(
        id=uuid7(), order_id=order_id, provider=method.provider[:50], status="processing", amount=amount.amount,
        currency=amount.currency, customer_id=customer_id, attempt=1,
    )  # fmt: skip


def _decline_unknown_provider(row: Payment) -> interface.Payment:
    row.status, row.reason, row.sequence = "declined", "unknown_provider", 1
    with transaction(books.ALIAS):
        if books.insert(row):
            publish(events.PaymentDeclined(order_id=row.order_id, payment_id=row.id, reason=row.reason), sequence=1)
            return to_payment(row)
    return _as_authorized(row.order_id)


def _as_authorized(order_id: UUID) -> interface.Payment:
    return _unless_closed(Payment.objects.get(order_id=order_id))


def _unless_closed(row: Payment) -> interface.Payment:
    if row.cancel_wanted:
        raise Closed(key=str(row.order_id))
    return to_payment(row)


def capture(order_id: UUID) -> interface.Payment:
    row = books.begin_capture(order_id)
    if row:
        return to_payment(progress.carry_on(row))
    row = books.present(order_id=order_id)
    if row is None or row.status not in CAPTURE_BEGAN:
        raise NotCapturable(present=row.status if row else "missing")
    return to_payment(row)


def cancel(order_id: UUID) -> interface.Payment | None:
    """Undo, or leave a tombstone for a payment that is still on its way here."""
    row = books.want_cancel(order_id)
    if row:
        return to_payment(row if row.woken else progress.carry_on(row))
    if books.insert(_tombstone(order_id)):
        return None
    row = Payment.objects.get(order_id=order_id)
    if not row.cancel_wanted and row.status not in FINAL:  # it came in between the two statements
        return cancel(order_id)
    return to_payment(row) if row.provider else None


def _tombstone(order_id: UUID) -> Payment:
    return Payment(
        id=uuid7(), order_id=order_id, status="voided", amount=0, currency=settings.CURRENCY, cancel_wanted=True
    )


def of_orders(order_ids: tuple[UUID, ...]) -> tuple[interface.Payment, ...]:
    found = Payment.objects.filter(order_id__in=order_ids).exclude(provider="")
    return tuple(to_payment(row) for row in found)


def to_payment(row: Payment) -> interface.Payment:
    """A payment's row as others see it."""
    waits = row.status == "requires_action"
    return interface.Payment(
        id=row.id,
        order_id=row.order_id,
        status=row.status,
        amount=Money(row.amount, row.currency),
        refunded=Money(row.refunded, row.currency),
        action=Action(type="redirect", url=row.action_url) if waits else None,
        reason=row.reason,
    )


def heard_of(reference: str) -> interface.Payment:
    """The provider has news of a payment: look at it now, as the news itself proves nothing. Raises NotFound."""
    row = books.present(reference=reference)
    if row is None:
        raise NotFound
    return to_payment(progress.look(row.id) or row)
