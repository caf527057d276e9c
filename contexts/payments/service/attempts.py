"""Pay an order again: replace the live intent of its payment, once that one is definitely over at its provider."""

from uuid import UUID

from contexts.payments import interface, providers
from contexts.payments.interface import PaymentMethod, PaymentProcessing
from contexts.payments.models import ALIAS, PaymentAttempt
from contexts.payments.service import persistence, processing, starts
from contexts.payments.service.operations import to_payment
from shop.db.database import execute, transaction

_INSERT_SQL = """
INSERT INTO payments_paymentattempt (id, payment_id, provider, reference) VALUES (%s, %s, %s, %s)
ON CONFLICT (id) DO NOTHING"""


def pay_again(order_id: UUID, attempt_id: UUID, method: PaymentMethod) -> interface.Payment:
    """Start another attempt to pay an order. A repeat with its id returns the present state. Raises PaymentProcessing."""
    row = persistence.find_payment_of_order(order_id)
    provider = providers.find(method.provider)
    if row is None or provider is None:
        raise PaymentProcessing(present="missing" if row is None else row.status)
    if PaymentAttempt.objects.filter(id=attempt_id).exists():
        return to_payment(row)
    with transaction(ALIAS):
        started = starts.begin_attempt(row.id, attempt_id, method)
        if started:
            execute(ALIAS, _INSERT_SQL, [attempt_id, row.id, method.provider, provider.reference(attempt_id)])
    if started:
        return to_payment(processing.advance_payment(started, report_by=processing.ReportBy.EVENT))
    if PaymentAttempt.objects.filter(id=attempt_id).exists():  # a concurrent repeat was first
        return to_payment(persistence.find_payment_of_order(order_id) or row)
    raise PaymentProcessing(present=(persistence.find_payment(row.id) or row).status)
