"""Taking a payment on: ask its provider, write what the answer means, until nothing is left to do now.

Whoever begins an operation does this at once, and the reconciler does it for all that was left open. Both hold the lease.
"""

from collections.abc import Callable
from uuid import UUID

import structlog

from contexts.payments import providers
from contexts.payments.models import Payment
from contexts.payments.providers import Answer, Provider
from contexts.payments.service import books
from contexts.payments.service.states import Landing, land, must_turn, turned
from shop import chaos, leases
from shop.database import OUTAGES
from shop.leases import Fenced
from shop.money import Money

UNKNOWN = Answer("unknown")
STUCK = 20  # attempts after which an open payment is worth somebody's attention

log = structlog.get_logger(__name__)
Question = Callable[[Provider, Payment], Answer]


def confirm(provider: Provider, row: Payment) -> Answer:
    return provider.confirm(reference=row.reference, amount=_amount(row), token=row.token)


def _retrieve(provider: Provider, row: Payment) -> Answer:
    return provider.retrieve(reference=row.reference)


def _look_up(provider: Provider, row: Payment) -> Answer:
    """An intent that is not there is no answer, for it may still be on its way: the same one is asked for again."""
    answer = _retrieve(provider, row)
    return confirm(provider, row) if answer.status == "not_found" else answer


def _capture(provider: Provider, row: Payment) -> Answer:
    return provider.capture(reference=row.reference, amount=_amount(row), key=str(row.id))


def _cancel(provider: Provider, row: Payment) -> Answer:
    return provider.cancel(reference=row.reference)


def _refund(provider: Provider, row: Payment) -> Answer:
    amount = Money(row.pending, row.currency)
    return provider.refund(reference=row.reference, amount=amount, key=str(row.refund_id))


_QUESTIONS: dict[str, Question] = {
    "processing": _look_up,
    "unknown": _look_up,
    "capturing": _capture,
    "voiding": _cancel,
    "refunding": _refund,
}


def carry_on(row: Payment, *, first: Question | None = None, late: bool = False) -> Payment:
    """Go on with a payment whose lease is held here. Returns it as it then stands.

    first: what to ask the provider, if not what the status suggests. late: see `books.save`.
    """
    try:
        with leases.renewing(row, books.ALIAS):
            return _to_rest(row, first, late)
    except Fenced:
        log.info("payment_taken_over", payment=str(row.id))
        return books.present(id=row.id) or row


def _to_rest(row: Payment, question: Question | None, late: bool) -> Payment:
    while True:
        landing = _next(row, question)
        after = books.save(row, landing, late=late)
        if after is None:  # a cancel came in between: what was fetched for the older version is fetched again
            row, late = _read_again(row), True
        elif landing.more:
            row, question = after, None
        else:
            return after


def _next(row: Payment, question: Question | None) -> Landing:
    if must_turn(row):
        return turned(row, Landing(status=row.status, changes={}))
    landing = land(row, _ask(row, question or _QUESTIONS.get(row.status, _retrieve)))
    if landing.alarm:
        log.error(landing.alarm, payment=str(row.id), order=str(row.order_id), status=row.status)
    return landing


def _ask(row: Payment, question: Question) -> Answer:
    """The provider's answer, or that there is none: an outage says nothing about what happened there."""
    provider = providers.find(row.provider)
    if provider is None:
        log.error("payment_without_provider", payment=str(row.id), provider=row.provider)
        return UNKNOWN
    try:
        return question(chaos.watched(f"provider.{row.provider}", provider), row)
    except OUTAGES as error:
        say = log.error if row.attempt > STUCK else log.warning
        say("payment_unanswered", payment=str(row.id), status=row.status, attempt=row.attempt, why=str(error))
        return UNKNOWN


def _read_again(row: Payment) -> Payment:
    current = books.mine(row)
    if current is None:
        raise Fenced
    return current


def look(payment_id: UUID) -> Payment | None:
    """Ask the provider how a payment stands, now. None if another worker is at it, who is told to look once more."""
    row = leases.take(Payment, books.ALIAS, payment_id)
    return row and carry_on(row, late=True)


def reconcile() -> None:
    """Look at what was left open and is due."""
    leases.work_off(Payment, books.ALIAS, look)


def _amount(row: Payment) -> Money:
    return Money(row.amount, row.currency)
