"""Outbox: store an event in the transaction of the change that it reports, with one delivery per subscribing context."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple, Protocol

import msgspec
from django.conf import settings
from django.db import transaction as django_transaction

from shop import clock
from shop.calls import tracing
from shop.calls.tracing import Trace
from shop.db.database import PreparedStatement, execute_deferred, fetch_rows
from shop.db.transactions import transaction_state
from shop.errors import InTransaction
from shop.ids import uuid7
from shop.messaging.events import Event, build_trace

_INSERT = PreparedStatement("""
INSERT INTO shop_outboxevent (id, name, version, stream, sequence, occurred_at, hops,
                              correlation_id, causation_id, traceparent, payload)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)""")
_INSERT_WITH_DELIVERIES = PreparedStatement(f"""
WITH event AS ({_INSERT} RETURNING id, stream, sequence)
INSERT INTO shop_delivery (event_id, subscriber, stream, sequence)
SELECT id, unnest(%s::text[]), stream, sequence FROM event""")
_FIND_TRACES = PreparedStatement("""
SELECT stream, id, hops, correlation_id, traceparent
FROM shop_outboxevent JOIN unnest(%s::text[], %s::bigint[]) AS last (stream, sequence) USING (stream, sequence)""")

# Called after the commit, with the context whose outbox has deliveries.
wake_callbacks: list[Callable[[str], None]] = []


class Sequenced(Protocol):
    """A row that numbers the events of its stream."""

    @property
    def sequence(self) -> int: ...


class Revision(NamedTuple):
    """The sequence that an INSERT or UPDATE returned, where no row was loaded; 1 for a new row."""

    sequence: int = 1


def publish(*events: Event, row: Sequenced, trace: Trace | None = None) -> None:
    """Publish events in the transaction of the change that they report.

    row: the changed aggregate. The statement that changed it raised its sequence by one for each of these events, so
    that the row lock makes the order of sequences the order of commits, without a gap.
    trace: of what caused them; by default the current one.
    Raises InTransaction outside of a transaction of the publishing context.
    """
    for sequence, event in enumerate(events, row.sequence - len(events) + 1):
        _insert(event, sequence, trace or tracing.get_current_trace())


def _insert(event: Event, sequence: int, trace: Trace) -> None:
    alias = event.context()
    if transaction_state.open_aliases != [alias]:
        raise InTransaction(
            f"{event.name} must be published inside a transaction on {alias}; "
            f"open transactions: {', '.join(transaction_state.open_aliases) or 'none'}"
        )
    subscribers = settings.SUBSCRIPTIONS[event.name]
    payload = msgspec.to_builtins(event)
    values = (
        uuid7(),
        event.name,
        event.version,
        event.stream.format_map(payload),
        sequence,
        clock.now(),
        trace.hops,
        trace.correlation_id,
        trace.causation_id,
        trace.traceparent,
        msgspec.json.encode(payload).decode(),
    )
    if subscribers:
        execute_deferred(alias, _INSERT_WITH_DELIVERIES, (*values, subscribers))
        django_transaction.on_commit(partial(_wake, alias), using=alias)
    else:
        execute_deferred(alias, _INSERT, values)


def _wake(publisher: str) -> None:
    for wake in wake_callbacks:
        wake(publisher)


def find_traces(publisher: str, sequences: Mapping[str, int]) -> dict[str, Trace]:
    """Return the traces that continue with published events, by stream. sequences: that of one event of each stream.

    For work on many rows at once, each of which continues what was done for that row alone. Purged events are omitted.
    """
    found = fetch_rows(publisher, _FIND_TRACES, [list(sequences), list(sequences.values())])
    names = ("id", "hops", "correlation_id", "traceparent")
    return {stream: build_trace(dict(zip(names, values, strict=True))) for stream, *values in found}
