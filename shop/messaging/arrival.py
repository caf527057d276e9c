"""Arrival: events are stored for the handlers of a context, and those that can be are handled at once, in a batch.

Events that are handled at once are stored as handled, with the effects of the whole batch, in one transaction. This saves
the claims of their inbox rows and a transaction for each. Whatever is not usual is left to `shop.messaging.handling`,
which handles events one by one, so that one that fails is parked alone.
"""

from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

import msgspec
import structlog
from django.db import connections
from django.db.transaction import get_rollback
from msgspec.structs import asdict, replace

from shop.calls import tracing
from shop.db.database import (
    OUTAGE_ERRORS,
    PreparedStatement,
    execute,
    execute_deferred,
    fetch_rows,
    joinable_transaction,
)
from shop.db.relaxed_commits import RELAX_SQL, await_disk, claim_relaxed_commit
from shop.messaging.events import MAX_HOPS, Envelope, Event, Handler, Received, build_trace, find_handler

Arrival = tuple[Envelope, Handler]
Batch = dict[tuple[UUID, str], Arrival]  # by the unique key of the inbox row

log = structlog.get_logger(__name__)

# A batch holds up the deliveries to other subscribers: a row that is locked for long is left to `shop.messaging.handling`.
_LIMIT_WAITING_SQL = "SELECT set_config('lock_timeout', '500ms', true)"
_LIMIT_WAITING = PreparedStatement(_LIMIT_WAITING_SQL)
_LIMIT_WAITING_RELAXED = PreparedStatement(f"{_LIMIT_WAITING_SQL}, {RELAX_SQL}")

# A row with an error is parked at once: the event has passed through too many handlers. An ordered event is not handled at
# once while another one of its handler and stream waits or is parked.
_STORE = PreparedStatement("""
INSERT INTO shop_inboxrow (event_id, handler, ordered, name, stream, sequence, envelope, error, parked_at, due_at,
                           handled_at, starts, attempt)
SELECT event_id, handler, ordered, name, stream, sequence, envelope::jsonb, error, CASE WHEN error <> '' THEN now() END, now(),
       CASE WHEN is_handled THEN now() END, is_handled::int, is_handled::int
FROM (SELECT *, at_once AND NOT (ordered AND EXISTS (
          SELECT FROM shop_inboxrow other
          WHERE other.handler = arrived.handler AND other.stream = arrived.stream AND other.handled_at IS NULL)) AS is_handled
      FROM unnest(%s::uuid[], %s::text[], %s::bool[], %s::text[], %s::text[], %s::bigint[], %s::text[], %s::text[], %s::bool[])
           AS arrived (event_id, handler, ordered, name, stream, sequence, envelope, error, at_once)) AS received
ORDER BY event_id, handler
ON CONFLICT (event_id, handler) DO NOTHING
RETURNING event_id, handler, handled_at IS NOT NULL""")


def store(context: str, arrivals: Sequence[Arrival]) -> bool:
    """Store events for their handlers, in one transaction. Returns whether all of them have been handled at once.

    An event that the inbox has already stays as it is. If handling at once fails, nothing of it has happened, and the
    events are stored only. What another delivery has stored is on the disk afterwards: its commit may have been relaxed.
    """
    are_handled = _store(context, arrivals)
    if any(envelope.is_repeated for envelope, _ in arrivals):
        await_disk(context)
    return are_handled


def _store(context: str, arrivals: Sequence[Arrival]) -> bool:
    if at_once := _choose(arrivals):
        try:
            return _store_and_handle(context, arrivals, at_once) == len(arrivals)
        except OUTAGE_ERRORS as error:  # deadlocks are among them
            connections[context].close()  # it may be broken; the next statement opens another one
            log.warning("batch_postponed", context=context, events=len(at_once), reason=repr(error))
        except Exception:
            log.warning("batch_failed", context=context, events=len(at_once), exc_info=True)
    execute(context, _STORE, _build_columns(arrivals, {}))
    return False


def _choose(arrivals: Sequence[Arrival]) -> Batch:
    """Return what can be handled at once: of each handler and stream the first event, if nothing is unusual about it."""
    first_of_stream: dict[tuple[str, str], Arrival] = {}
    for arrival in sorted(arrivals, key=lambda arrival: arrival[0].sequence):
        first_of_stream.setdefault((arrival[1].name, arrival[0].stream), arrival)
    return {
        (envelope.id, handler.name): (envelope, handler)
        for envelope, handler in first_of_stream.values()
        if handler.run_many and envelope.hops <= MAX_HOPS and not envelope.is_repeated
    }


def _store_and_handle(context: str, arrivals: Sequence[Arrival], at_once: Batch) -> int:
    """Store the events and run the handlers of those that can be handled at once. Returns the number of handled ones."""
    with joinable_transaction(context):
        execute_deferred(context, _LIMIT_WAITING_RELAXED if claim_relaxed_commit(context) else _LIMIT_WAITING)
        stored = fetch_rows(context, _STORE, _build_columns(arrivals, at_once))
        handled = [at_once[event_id, handler] for event_id, handler, is_handled in stored if is_handled]
        received = [_receive(*arrival) for arrival in handled]
        _run_handlers(handled, received)
        if get_rollback(using=context):
            raise RuntimeError("a handler has caught an error that rolls its transaction back")
    for (envelope, handler), (_, trace) in zip(handled, received, strict=True):
        with tracing.use_trace(trace):
            log.info(
                "event_handled",
                handler=handler.name,
                name=envelope.name,
                stream=envelope.stream,
                sequence=envelope.sequence,
            )
    return len(handled)


def _receive(envelope: Envelope, handler: Handler) -> Received[Event]:
    content = asdict(envelope) | {"payload": msgspec.json.decode(envelope.payload)}
    return Received(handler.decode(content), build_trace(content))


def _run_handlers(handled: Sequence[Arrival], received: Sequence[Received[Event]]) -> None:
    """Run each handler once with all of its events, in the same order in every batch: handlers lock rows."""
    batches: dict[tuple[str, str], list[Received[Event]]] = defaultdict(list)
    for (envelope, handler), one in zip(handled, received, strict=True):
        batches[handler.name, envelope.name].append(one)
    for name, event in sorted(batches):
        declared = find_handler(name, event)
        if declared and declared.run_many:
            declared.run_many(batches[name, event])


def _build_columns(arrivals: Sequence[Arrival], at_once: Batch) -> tuple[list[object], ...]:
    return (
        [envelope.id for envelope, _ in arrivals],
        [handler.name for _, handler in arrivals],
        [handler.ordered for _, handler in arrivals],
        [envelope.name for envelope, _ in arrivals],
        [envelope.stream for envelope, _ in arrivals],
        [envelope.sequence for envelope, _ in arrivals],
        [_encode(envelope) for envelope, _ in arrivals],
        [_get_loop_error(envelope) for envelope, _ in arrivals],
        [(envelope.id, handler.name) in at_once for envelope, handler in arrivals],
    )


def _encode(envelope: Envelope) -> str:
    """Return the envelope as the inbox keeps it, the same for every delivery."""
    return msgspec.json.encode(replace(envelope, is_repeated=False) if envelope.is_repeated else envelope).decode()


def _get_loop_error(envelope: Envelope) -> str:
    return f"{envelope.hops} hops, more than the limit of {MAX_HOPS}" if envelope.hops > MAX_HOPS else ""
