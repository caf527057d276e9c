"""Processing of a payment: call its provider and write the transition that follows, until nothing is left to do now.

The request that starts an operation does this at once; the reconciler does it for every payment that is still open.
Both hold the payment's lease.
"""

from collections.abc import Callable
from enum import Enum
from uuid import UUID

import msgspec
import structlog

from contexts.payments import providers
from contexts.payments.interface import PaymentStatus
from contexts.payments.models import ALIAS, Payment
from contexts.payments.providers import Provider, ProviderResponse, ProviderStatus
from contexts.payments.service import persistence
from contexts.payments.service.changes import Transition
from contexts.payments.service.transitions import (
    continue_with_cancel,
    decide_transition,
    is_cancel_due,
    keep_row,
    publish_resolved,
    replace_intent,
)
from shop import chaos
from shop.db import leases
from shop.db.database import OUTAGE_ERRORS
from shop.db.leases import LeaseLost
from shop.errors import Unavailable
from shop.money import Money

UNKNOWN_RESPONSE = ProviderResponse(ProviderStatus.UNKNOWN)
ALERT_AFTER_ATTEMPTS = 20  # attempts after which an unanswered call is logged as an error

log = structlog.get_logger(__name__)
ProviderCall = Callable[[Provider, Payment], ProviderResponse]


class ReportBy(Enum):
    """How other contexts learn the outcome."""

    RESPONSE = "response"  # it is returned to the caller
    EVENT = "event"  # no caller waits for it, so PaymentResolved is published


def confirm(provider: Provider, row: Payment) -> ProviderResponse:
    """Create the payment intent and authorize the amount."""
    return provider.confirm(reference=row.reference, amount=_to_money(row), token=row.token)


def _retrieve(provider: Provider, row: Payment) -> ProviderResponse:
    return provider.retrieve(reference=row.reference)


def _retrieve_or_confirm(provider: Provider, row: Payment) -> ProviderResponse:
    """Retrieve the intent. If it is not found it may still be in the network, so confirm it under the same reference."""
    response = _retrieve(provider, row)
    return confirm(provider, row) if response.status == ProviderStatus.NOT_FOUND else response


def _capture(provider: Provider, row: Payment) -> ProviderResponse:
    amount = Money(row.capturing or row.amount - row.captured, row.currency)  # 0: an older release started it
    return provider.capture(reference=row.reference, amount=amount, key=_build_capture_key(row))


def _build_capture_key(row: Payment) -> str:
    """Return the key of the running capture. A capture after a definite refusal has a key of its own."""
    return str(row.id) if row.capture_attempts <= 1 else f"{row.id}-{row.capture_attempts}"


def _cancel(provider: Provider, row: Payment) -> ProviderResponse:
    return provider.cancel(reference=row.reference)


def _refund(provider: Provider, row: Payment) -> ProviderResponse:
    """Refund the pending amount. If it is refused, retrieve the amounts: the provider may have refunded by itself."""
    amount = Money(row.pending, row.currency)
    response = provider.refund(reference=row.reference, amount=amount, key=str(row.refund_id))
    if response.status != ProviderStatus.REFUSED or response.amounts:
        return response
    return msgspec.structs.replace(response, amounts=_retrieve(provider, row).amounts)


_CALL_BY_STATUS: dict[str, ProviderCall] = {
    PaymentStatus.PROCESSING: _retrieve_or_confirm,
    PaymentStatus.UNKNOWN: _retrieve_or_confirm,
    PaymentStatus.CAPTURING: _capture,
    PaymentStatus.VOIDING: _cancel,
    PaymentStatus.REFUNDING: _refund,
}


def advance_payment(
    row: Payment, *, first_call: ProviderCall | None = None, report_by: ReportBy = ReportBy.RESPONSE
) -> Payment:
    """Process a payment whose lease this worker holds. Returns its row afterwards.

    first_call: the first call to the provider; by default the one that the status asks for.
    """
    try:
        with leases.keep_lease_alive(row, ALIAS):
            return _advance_until_waiting(row, first_call, report_by)
    except LeaseLost:
        log.info("payment_taken_over", payment=str(row.id))
        return persistence.find_payment(row.id) or row


def write_or_continue(row: Payment, transition: Transition) -> Payment:
    """Write the transition of a payment whose lease this worker holds. If it was changed meanwhile, process it anew."""
    after = persistence.save_transition(row, transition)
    if after and not transition.continues:
        return after
    current = after or persistence.reload_if_held(row)
    if current is None:
        return persistence.find_payment(row.id) or row
    return advance_payment(current, report_by=ReportBy.EVENT)


def _advance_until_waiting(row: Payment, call: ProviderCall | None, report_by: ReportBy) -> Payment:
    while True:
        transition = decide_next(row, call)
        if report_by is ReportBy.EVENT:
            transition = publish_resolved(row, transition)
        after = persistence.save_transition(row, transition)
        if (
            after is None
        ):  # a cancel changed the row meanwhile; the response belongs to the older version, so call again
            row, report_by = _reload(row), ReportBy.EVENT
        elif transition.continues:
            row, call = after, None
        else:
            return after


def decide_next(row: Payment, call: ProviderCall | None = None) -> Transition:
    """Call the provider as the status of the payment asks for, or by `call`. Return the transition that follows."""
    if is_cancel_due(row):
        return continue_with_cancel(row, keep_row(row))
    if row.next_attempt and (following := providers.find(row.next_provider)):
        return replace_intent(row, _call_provider(row, _cancel), following.reference(row.next_attempt))
    response = _call_provider(row, call or _CALL_BY_STATUS.get(row.status, _retrieve))
    has_failed = response.amounts is not None and response.amounts.failed_refunds
    transition = decide_transition(row, response, row.refunds.order_by("id") if has_failed else ())
    if transition.alert:
        log.error(transition.alert, payment=str(row.id), order=str(row.order_id), status=row.status)
    return transition


def _call_provider(row: Payment, call: ProviderCall) -> ProviderResponse:
    """Call the provider. An outage is UNKNOWN_RESPONSE: the call may or may not have taken effect."""
    provider = providers.find(row.provider)
    if provider is None:
        log.error("payment_without_provider", payment=str(row.id), provider=row.provider)
        return UNKNOWN_RESPONSE
    try:
        return call(chaos.wrap_with_points(f"provider.{row.provider}", provider), row)
    except OUTAGE_ERRORS as error:
        log_method = log.error if row.attempt > ALERT_AFTER_ATTEMPTS else log.warning
        log_method("payment_unanswered", payment=str(row.id), status=row.status, attempt=row.attempt, why=str(error))
        return UNKNOWN_RESPONSE


def _reload(row: Payment) -> Payment:
    current = persistence.reload_if_held(row)
    if current is None:
        raise LeaseLost
    return current


def sync_payment(payment_id: UUID) -> Payment | None:
    """Synchronize a payment with its provider now. If another worker holds its lease, wake that worker and return None."""
    row = leases.acquire_lease(Payment, ALIAS, payment_id)
    return row and advance_payment(row, report_by=ReportBy.EVENT)


def ask_provider(payment_id: UUID) -> Payment:
    """Retrieve the state of a payment from its provider now, and apply it. No authorization is started.

    Raises Unavailable if the provider does not answer, or if another worker holds the payment's lease.
    """
    row = leases.acquire_lease(Payment, ALIAS, payment_id)
    if row is None:
        raise Unavailable(what="The payment, which another worker is processing,")
    answers: list[ProviderResponse] = []

    def retrieve(provider: Provider, row: Payment) -> ProviderResponse:
        answers.append(_retrieve(provider, row))
        return answers[-1]

    after = advance_payment(row, first_call=retrieve, report_by=ReportBy.EVENT)
    if not answers:
        raise Unavailable(what="The payment provider")
    return after


def reconcile_due() -> None:
    """Synchronize every payment that is due."""
    leases.process_due_rows(Payment, ALIAS, sync_payment)


def _to_money(row: Payment) -> Money:
    return Money(row.amount, row.currency)
