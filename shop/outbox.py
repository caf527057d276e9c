"""Outbox: a fact is written where it becomes true, in the same transaction, with one delivery per subscribing context."""

from collections.abc import Callable
from functools import partial

import msgspec
from django.conf import settings
from django.db import transaction as django_transaction

from shop import clock, tracing
from shop.database import Prepared, later
from shop.errors import InTransaction
from shop.events import Event
from shop.ids import uuid7
from shop.transactions import held

_INSERT = Prepared("""
WITH fact AS (
    INSERT INTO shop_outboxevent (id, name, version, stream, sequence, occurred_at, hops,
                                  correlation_id, causation_id, traceparent, payload)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
    RETURNING id, stream, sequence)
INSERT INTO shop_delivery (event_id, subscriber, stream, sequence)
SELECT id, unnest(%s::text[]), stream, sequence FROM fact""")

doorbell: list[Callable[[str], None]] = []  # rung after a commit that left something to deliver, with whose outbox it is in


def publish(event: Event, *, sequence: int) -> None:
    """Announce a fact, inside the transaction in which it became true.

    sequence: the aggregate's, raised by the same UPDATE that changed it, so that its row lock makes the order of
    sequences the order of commits, without a gap. Raises InTransaction outside a transaction of the publisher.
    """
    alias = event.context()
    if held.aliases != [alias]:
        raise InTransaction(f"{event.name} is published inside a transaction on {alias}, not on {held.aliases or 'none'}")
    trace = tracing.current()
    subscribers = settings.SUBSCRIPTIONS[event.name]
    facts = msgspec.to_builtins(event)
    later(
        alias,
        _INSERT,
        (
            uuid7(), event.name, event.version, event.stream.format_map(facts), sequence, clock.now(), trace.hops,
            trace.correlation_id, trace.causation_id, trace.traceparent, msgspec.json.encode(facts).decode(),
            subscribers,
        ),
    )  # fmt: skip
    if subscribers:
        django_transaction.on_commit(partial(_ring, alias), using=alias)


def _ring(publisher: str) -> None:
    for ring in doorbell:
        ring(publisher)
