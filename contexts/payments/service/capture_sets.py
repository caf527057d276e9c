"""Capture the payments of many orders at once: one statement for each step, the provider's calls one by one between them.

A set takes the leases of its payments in sorted order and does not renew them. What a set cannot finish, because a call was
slow or the payment was changed meanwhile, is left to the reconciler, which repeats the capture with its own key. Calls, log
lines and events of each payment continue the trace of its last event, which is that of its order.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar
from uuid import UUID

from contexts.payments import interface
from contexts.payments.events import PaymentEvent
from contexts.payments.models import ALIAS, Payment
from contexts.payments.service import operations, persistence, processing, starts
from contexts.payments.service.changes import Transition
from shop.calls import tracing
from shop.calls.tracing import Trace
from shop.db.database import NoRowChanged, transaction
from shop.messaging.outbox import find_traces

MAX_CALLS_SECONDS = 0.5  # for the provider's calls of a set: after it, no other call is made

T = TypeVar("T")
Decided = tuple[Payment, Transition]
Traces = Mapping[str, Trace]  # by stream


def capture_orders(order_ids: tuple[UUID, ...]) -> tuple[interface.Payment, ...]:
    """Capture the authorized payments of these orders. Return the payments of all of them; tombstones are omitted."""
    begun = starts.begin_captures(order_ids)
    traces = find_traces(ALIAS, {_get_stream(row): row.sequence for row in begun}) if begun else {}
    decided, left = _call_provider(begun, traces)
    after = [*_write(decided, traces), *left]
    starts.release_leases(left)
    known = {row.order_id for row in after}
    others = tuple(order_id for order_id in order_ids if order_id not in known)
    return (*map(operations.to_payment, after), *(operations.of_orders(others) if others else ()))


def _call_provider(begun: Sequence[Payment], traces: Traces) -> tuple[list[Decided], Sequence[Payment]]:
    """Call the provider for one payment after the other. Return also those that are left, once the calls take too long."""
    decided: list[Decided] = []
    deadline = time.monotonic() + MAX_CALLS_SECONDS
    for number, row in enumerate(begun):
        if time.monotonic() > deadline:
            return decided, begun[number:]
        decided.append((row, _run_for(row, traces, processing.decide_next)))
    return decided, ()


def _write(decided: Sequence[Decided], traces: Traces) -> list[Payment]:
    """Write all transitions in one transaction; one by one if any of the payments was changed meanwhile."""
    try:
        with transaction(ALIAS):
            after = [_run_for(row, traces, persistence.write_transition, transition) for row, transition in decided]
    except NoRowChanged:
        return [_run_for(row, traces, processing.write_or_continue, transition) for row, transition in decided]
    return [
        _run_for(row, traces, processing.advance_payment, report_by=processing.ReportBy.EVENT)
        if transition.continues
        else row
        for row, (_, transition) in zip(after, decided, strict=True)
    ]


def _run_for(row: Payment, traces: Traces, function: Callable[..., T], *arguments: object, **named: object) -> T:
    """Run a function for a payment, in the trace of its last event; in the present one if that event was purged."""
    with tracing.use_trace(traces.get(_get_stream(row)) or tracing.get_current_trace()):
        return function(row, *arguments, **named)


def _get_stream(row: Payment) -> str:
    return PaymentEvent.stream.format(order_id=row.order_id)
