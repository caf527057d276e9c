"""Capture the payments of many orders at once: one statement for each step, the provider's calls one by one between them.

A set takes the leases of its payments in sorted order and does not renew them. What a set cannot finish, because a call was
slow or the payment was changed meanwhile, is left to the reconciler, which repeats the capture with its own key.
"""

import time
from collections.abc import Sequence
from uuid import UUID

from contexts.payments import interface
from contexts.payments.models import ALIAS, Payment
from contexts.payments.service import operations, persistence, processing, starts
from contexts.payments.service.changes import Transition
from shop.db.database import NoRowChanged, transaction

MAX_CALLS_SECONDS = 0.5  # for the provider's calls of a set: after it, no other call is made

Decided = tuple[Payment, Transition]


def capture_orders(order_ids: tuple[UUID, ...]) -> tuple[interface.Payment, ...]:
    """Capture the authorized payments of these orders. Return the payments of all of them; tombstones are omitted."""
    decided, left = _call_provider(starts.begin_captures(order_ids))
    after = [*_write(decided), *left]
    starts.release_leases(left)
    known = {row.order_id for row in after}
    others = tuple(order_id for order_id in order_ids if order_id not in known)
    return (*map(operations.to_payment, after), *(operations.of_orders(others) if others else ()))


def _call_provider(begun: Sequence[Payment]) -> tuple[list[Decided], Sequence[Payment]]:
    """Call the provider for one payment after the other. Return also those that are left, once the calls take too long."""
    decided: list[Decided] = []
    deadline = time.monotonic() + MAX_CALLS_SECONDS
    for number, row in enumerate(begun):
        if time.monotonic() > deadline:
            return decided, begun[number:]
        decided.append((row, processing.decide_next(row)))
    return decided, ()


def _write(decided: Sequence[Decided]) -> list[Payment]:
    """Write all transitions in one transaction; one by one if any of the payments was changed meanwhile."""
    try:
        with transaction(ALIAS):
            after = [persistence.write_transition(row, transition) for row, transition in decided]
    except NoRowChanged:
        return [processing.write_or_continue(row, transition) for row, transition in decided]
    return [
        processing.advance_payment(row, report_by=processing.ReportBy.EVENT) if transition.continues else row
        for row, (_, transition) in zip(after, decided, strict=True)
    ]
