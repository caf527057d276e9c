"""Inbox: every fact once per handler. Stored in the subscriber's own database, handled there, parked when it is poison."""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from datetime import timedelta
from functools import cache, partial
from typing import Protocol

import msgspec
import structlog
from django.db import connections

from shop import clock, events, services, tracing
from shop.database import (
    OUTAGES,
    NothingChanged,
    Prepared,
    changed,
    columns,
    hosted,
    instances,
    kernel_transaction,
    require,
    rows,
)
from shop.errors import Conflict, Unavailable
from shop.events import MAX_AGE, MAX_HOPS, Envelope, Handler
from shop.leases import LEASE, Fenced, backoff, renewing
from shop.models import InboxRow

MAX_FAILURES = 5
MAX_STARTS = 5
BATCH = 10

doorbell: list[Callable[[str], None]] = []  # rung when something to handle has come, with whose inbox it is in
log = structlog.get_logger(__name__)


class NotParked(Conflict):
    """Only a parked event can be replayed or discarded."""


class Inbox(Protocol):
    """What a context answers to publishers, wherever it is hosted."""

    @services.idempotent
    def accept(self, *, envelopes: tuple[Envelope, ...]) -> dict[str, str]:
        """See `accept`."""


@cache
def wire(context: str) -> services.Method:
    """How facts for a context travel to another process."""
    return services.Method(f"{context}.inbox", Inbox.accept)


def served(contexts: Iterable[str]) -> dict[str, Callable[[bytes], bytes]]:
    """What the inboxes of these contexts do with a request, by the method's name."""
    return {wire(context).name: partial(wire(context).serve, partial(_take, context)) for context in contexts}


def _take(context: str, envelopes: tuple[Envelope, ...]) -> dict[str, str]:
    return accept(context, envelopes)


def hand_over(context: str, envelopes: Iterable[Envelope]) -> dict[str, str]:
    """`accept`, wherever the context is hosted. Raises Unavailable, as a call does."""
    if context in hosted():
        return accept(context, envelopes)
    url = services.address(context)
    if url is None:
        raise Unavailable(what=context)
    return services.reach(wire(context), url)(envelopes=tuple(envelopes))


def accept(context: str, envelopes: Iterable[Envelope]) -> dict[str, str]:
    """Store the envelopes for every handler of the context, in one transaction. Returns the refused: id and reason.

    A repeat changes nothing. What is refused must not be acknowledged by the publisher.
    """
    refused, accepted = {}, []
    for envelope in envelopes:
        if reason := _refusal(context, envelope):
            refused[str(envelope.id)] = reason
        else:
            accepted += [(envelope, handler) for handler in events.handlers(context, envelope.name)]
    if accepted:
        _store(context, accepted)
        for ring in doorbell:
            ring(context)
    return refused


def _refusal(context: str, envelope: Envelope) -> str:
    event = events.declared().get(envelope.name)
    if event is None or not events.handlers(context, envelope.name):
        return f"{context} has no handler for {envelope.name}"
    if envelope.version > event.version:
        return f"{context} knows {envelope.name} up to version {event.version}, not {envelope.version}"
    if clock.now() - envelope.occurred_at > MAX_AGE:
        return f"older than {MAX_AGE.days} days: its inbox row may have been purged"
    return ""


# Whoever comes in circles is parked at once.
_STORE = Prepared("""
INSERT INTO shop_inboxrow (event_id, handler, ordered, name, stream, sequence, envelope, error, parked_at, due_at)
SELECT event_id, handler, ordered, name, stream, sequence, envelope::jsonb, error, CASE WHEN error <> '' THEN now() END, now()
FROM unnest(%s::uuid[], %s::text[], %s::bool[], %s::text[], %s::text[], %s::bigint[], %s::text[], %s::text[])
     AS come (event_id, handler, ordered, name, stream, sequence, envelope, error)
ON CONFLICT (event_id, handler) DO NOTHING""")


def _store(context: str, accepted: list[tuple[Envelope, Handler]]) -> None:
    come = [
        (e.id, h.name, h.ordered, e.name, e.stream, e.sequence, msgspec.json.encode(e).decode(), _looping(e))
        for e, h in accepted
    ]
    changed(context, _STORE, [list(column) for column in zip(*come, strict=True)])


def _looping(envelope: Envelope) -> str:
    return f"passed on {envelope.hops} times" if envelope.hops > MAX_HOPS else ""


_CLAIM_DUE = f"""
UPDATE shop_inboxrow SET attempt = attempt + 1, starts = starts + 1, lease_until = now() + %s
WHERE id = ANY(ARRAY(
    SELECT id FROM shop_inboxrow row
    WHERE handled_at IS NULL AND parked_at IS NULL AND due_at <= now()
      AND (lease_until IS NULL OR lease_until <= now()) AND {{started}}
      AND (NOT ordered OR sequence = (
            SELECT min(sequence) FROM shop_inboxrow earlier
            WHERE earlier.handler = row.handler AND earlier.stream = row.stream AND earlier.handled_at IS NULL))
    ORDER BY due_at LIMIT %s FOR UPDATE SKIP LOCKED))
RETURNING {columns(InboxRow)}"""
_CLAIM = {started: Prepared(_CLAIM_DUE.format(started=how)) for started, how in ((False, "starts = 0"), (True, "starts > 0"))}


def handle_due(context: str) -> int:
    """Claim what is due in one context and run its handlers. Returns how many rows were claimed."""
    return handle_fresh(context) + take_over(context)


def handle_fresh(context: str) -> int:
    """As `handle_due`, of what was never started."""
    return _handle(context, BATCH, started_before=False)


def take_over(context: str) -> int:
    """As `handle_due`, of what was started without an end. One row alone: it may be what ended its worker."""
    return _handle(context, 1, started_before=True)


def _handle(context: str, limit: int, *, started_before: bool) -> int:
    claimed = instances(InboxRow, context, _CLAIM[started_before], [LEASE, limit])
    with ExitStack() as leases:
        for row in claimed:
            leases.enter_context(renewing(row, context))
        for row in sorted(claimed, key=lambda row: row.id):
            _run(context, row)
    return len(claimed)


def _run(context: str, row: InboxRow) -> None:
    handler = events.handler(row.handler, row.name)
    if handler is None:
        _postpone(context, row, f"this release has no handler {row.handler} for {row.name}")
    elif row.starts > MAX_STARTS:
        _park(context, row, f"started {MAX_STARTS} times without an end")
    elif row.envelope["version"] > handler.event.version:  # a process of a later release has accepted it
        _postpone(context, row, f"this release knows {row.name} up to version {handler.event.version}")
    else:
        _attempt(context, row, handler)


def _attempt(context: str, row: InboxRow, handler: Handler) -> None:
    envelope = row.envelope
    trace = tracing.Trace(
        correlation_id=envelope["correlation_id"], causation_id=str(row.event_id),
        traceparent=envelope["traceparent"], hops=envelope["hops"] + 1,
    )  # fmt: skip
    with tracing.following(trace):
        try:
            facts = handler.event.upcast(envelope["version"], envelope["payload"])
            event = msgspec.convert(facts, type=handler.event, strict=False)
            if handler.atomic:
                with kernel_transaction(context):
                    handler.run(event)
                    require(context, _FINISHED, _FINISH, [row.pk, row.attempt])
            else:
                handler.run(event)
                if not changed(context, _FINISH, [row.pk, row.attempt]):
                    raise Fenced
            log.info("event_handled", handler=row.handler, name=row.name, stream=row.stream, sequence=row.sequence)
        except Fenced:
            _taken_over(row)
        except OUTAGES as error:
            connections[context].close()  # it may be broken; the next statement gets another
            _postpone(context, row, repr(error))
        except Exception as error:
            if isinstance(error, NothingChanged) and error.args == (_FINISHED,):
                return _taken_over(row)
            log.exception("event_failed", handler=row.handler, stream=row.stream, sequence=row.sequence)
            (_park if row.failures + 1 >= MAX_FAILURES else _postpone)(context, row, repr(error), failed=1)


_MINE = "WHERE id = %s AND attempt = %s AND handled_at IS NULL"


# The row is handled in the transaction of the effect; where another worker has taken over, there is no effect.
_FINISH = f"UPDATE shop_inboxrow SET handled_at = now(), lease_until = NULL, error = '' {_MINE}"
_FINISHED = "inbox row"


def _taken_over(row: InboxRow) -> None:
    log.warning("event_taken_over", handler=row.handler, stream=row.stream, sequence=row.sequence)


def _postpone(context: str, row: InboxRow, why: str, failed: int = 0) -> None:
    log.warning("event_postponed", handler=row.handler, stream=row.stream, sequence=row.sequence, why=why)
    changed(
        context,
        f"""UPDATE shop_inboxrow SET due_at = now() + %s, lease_until = NULL, starts = 0,
                   failures = failures + %s, error = %s {_MINE}""",
        [backoff(row.failures + row.attempt), failed, why, row.pk, row.attempt],
    )


def _park(context: str, row: InboxRow, why: str, failed: int = 0) -> None:
    log.error("event_parked", handler=row.handler, stream=row.stream, sequence=row.sequence, why=why)
    changed(
        context,
        f"""UPDATE shop_inboxrow SET parked_at = now(), lease_until = NULL, failures = failures + %s, error = %s
            {_MINE}""",
        [failed, why, row.pk, row.attempt],
    )


def parked(context: str, limit: int = 100) -> list[InboxRow]:
    """What handlers of the context gave up on, the oldest first."""
    return list(InboxRow.objects.using(context).filter(parked_at__isnull=False).order_by("parked_at")[:limit])


def replay(context: str, ids: Iterable[int]) -> int:
    """Let parked rows run again. Returns how many; what is not parked is left alone."""
    return changed(
        context,
        """UPDATE shop_inboxrow SET parked_at = NULL, due_at = now(), failures = 0, starts = 0
           WHERE id = ANY(%s) AND parked_at IS NOT NULL AND handled_at IS NULL""",
        [list(ids)],
    )


def discard(context: str, row_id: int, *, reason: str) -> None:
    """Give up on a parked row, so that its stream goes on. Raises NotParked."""
    done = changed(
        context,
        """UPDATE shop_inboxrow SET handled_at = now(), parked_at = NULL, discarded_because = %s
           WHERE id = %s AND parked_at IS NOT NULL AND handled_at IS NULL""",
        [reason, row_id],
    )
    if not done:
        raise NotParked


def purge(context: str, older_than: timedelta = timedelta(days=30)) -> int:
    """Forget what was handled long ago, except where something of its stream still waits. Returns how many rows."""
    return changed(
        context,
        """DELETE FROM shop_inboxrow old WHERE handled_at < now() - %s AND NOT EXISTS (
             SELECT 1 FROM shop_inboxrow waiting WHERE waiting.stream = old.stream AND waiting.handled_at IS NULL)""",
        [older_than],
    )


def lag(context: str) -> tuple[float, int]:
    """Seconds that the oldest due row has waited, and how many rows are parked."""
    [(seconds, parked)] = rows(
        context,
        """SELECT coalesce(extract(epoch FROM now() - min(received_at) FILTER (WHERE parked_at IS NULL)), 0)::float,
                  count(*) FILTER (WHERE parked_at IS NOT NULL)
           FROM shop_inboxrow WHERE handled_at IS NULL""",
    )
    return seconds, parked
