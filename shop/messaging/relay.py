"""Relay: deliver the events of an outbox to the inboxes of the subscribers, in order within a stream."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec
import structlog
from django.db import connections

from shop import chaos
from shop.calls.deadline import deadline
from shop.db.database import PreparedStatement, execute, fetch_rows, hosted_contexts
from shop.messaging import inbox
from shop.messaging.events import Envelope

BATCH_SIZE = 50
REDELIVERY_DELAY_SECONDS = 2.0  # until the first redelivery of what was not acknowledged; doubles with each attempt
DELIVERY_TIMEOUT_SECONDS = 1.5  # shorter than the redelivery delay, so that no other relay delivers at the same time

# Sends envelopes of a publisher to a subscriber, which calls `acknowledge` later. Returns False if they were not sent.
EnvelopeSender = Callable[[str, str, list[Envelope]], bool]
DeliveriesBySubscriber = dict[str, dict[int, Envelope]]
log = structlog.get_logger(__name__)

# Committed before anything is sent. A delivery is due only when all earlier ones of its subscriber and stream are
# acknowledged. The condition is never "id greater than the last one": that would skip a transaction that commits late.
# ANY(ARRAY) and OFFSET 0 force index lookups. With outdated statistics the planner would choose sequential scans.
_CLAIM_DUE = PreparedStatement("""
WITH claimed AS (
    UPDATE shop_delivery SET attempts = attempts + 1,
           due_at = now() + least(10, %s * power(2, least(attempts, 10))) * interval '1 second'
    WHERE id = ANY(ARRAY(
        SELECT id FROM shop_delivery due
        WHERE acknowledged_at IS NULL AND due_at <= now() AND sequence = (
            SELECT min(sequence) FROM shop_delivery earlier
            WHERE earlier.subscriber = due.subscriber AND earlier.stream = due.stream AND earlier.acknowledged_at IS NULL)
        ORDER BY due_at LIMIT %s FOR UPDATE SKIP LOCKED))
    RETURNING id, attempts, subscriber, event_id)
SELECT claimed.id, attempts, subscriber, event.* FROM claimed CROSS JOIN LATERAL (
    SELECT id, name, version, stream, sequence, occurred_at, hops, correlation_id, causation_id, traceparent, payload::text
    FROM shop_outboxevent WHERE id = claimed.event_id OFFSET 0) AS event""")


class _ClaimedDelivery(NamedTuple):
    """One row of `_CLAIM_DUE`."""

    id: int
    attempts: int
    subscriber: str
    event_id: UUID
    name: str
    version: int
    stream: str
    sequence: int
    occurred_at: datetime
    hops: int
    correlation_id: str
    causation_id: str
    traceparent: str
    payload: str


_ACKNOWLEDGE_WHERE = "UPDATE shop_delivery SET acknowledged_at = now(), error = '' WHERE {} AND acknowledged_at IS NULL"
_ACKNOWLEDGE = PreparedStatement(_ACKNOWLEDGE_WHERE.format("id = ANY(%s)"))
_ACKNOWLEDGE_EVENTS = PreparedStatement(f"""
WITH done AS ({_ACKNOWLEDGE_WHERE.format("subscriber = %s AND event_id = ANY(%s::uuid[])")} RETURNING id, subscriber, stream)
SELECT EXISTS (SELECT FROM done JOIN shop_delivery next USING (subscriber, stream)
               WHERE next.acknowledged_at IS NULL AND next.id <> done.id)""")


def deliver_due(publisher: str, send: EnvelopeSender | None = None) -> int:
    """Deliver the due events of one outbox and record the acknowledgements. Returns the number of claimed deliveries.

    send: used for the first attempt of each delivery. It may lose envelopes: a delivery that is not acknowledged in time
    is claimed again and then delivered by a call.
    """
    claimed = fetch_rows(publisher, _CLAIM_DUE, [REDELIVERY_DELAY_SECONDS, BATCH_SIZE])
    to_send: DeliveriesBySubscriber = defaultdict(dict)
    to_deliver: DeliveriesBySubscriber = defaultdict(dict)
    for delivery in map(_ClaimedDelivery._make, claimed):
        batches = to_send if send and delivery.attempts == 1 else to_deliver
        batches[delivery.subscriber][delivery.id] = _build_envelope(delivery)
    if send:
        for subscriber, batch in to_send.items():
            point = f"send.{publisher}.{subscriber}"
            if not chaos.call_with_points(point, send, publisher, subscriber, list(batch.values())):
                to_deliver[subscriber] |= batch
    _deliver_directly(publisher, to_deliver)
    return len(claimed)


def _deliver_directly(publisher: str, by_subscriber: DeliveriesBySubscriber) -> None:
    acknowledged: list[int] = []
    for subscriber in sorted(by_subscriber, key=lambda name: name not in hosted_contexts()):
        if subscriber not in hosted_contexts():  # a remote call may take long: record the local ones first
            _acknowledge(publisher, acknowledged)
            acknowledged = []
        acknowledged += _deliver_batch(publisher, subscriber, by_subscriber[subscriber])
    _acknowledge(publisher, acknowledged)


def _acknowledge(publisher: str, deliveries: list[int]) -> None:
    if deliveries:
        execute(publisher, _ACKNOWLEDGE, [deliveries])


def acknowledge(publisher: str, subscriber: str, events: Iterable[str], refused: dict[str, str]) -> bool:
    """Record which sent events a subscriber has stored, and the reason for each that it refused (by event id).

    Idempotent; also applies if another relay has claimed the deliveries. Returns whether more events of these streams
    wait for delivery.
    """
    [(has_more,)] = fetch_rows(publisher, _ACKNOWLEDGE_EVENTS, [subscriber, list(events)])
    _record_refusals(publisher, subscriber, refused)
    return bool(has_more)


def _record_refusals(publisher: str, subscriber: str, refused: dict[str, str]) -> None:
    """Store the reasons on the deliveries, which stay due."""
    for event, reason in refused.items():
        log.error("event_refused", publisher=publisher, subscriber=subscriber, event_id=event, reason=reason)
        condition = "subscriber = %s AND event_id = %s AND acknowledged_at IS NULL"
        execute(publisher, f"UPDATE shop_delivery SET error = %s WHERE {condition}", [reason, subscriber, event])


def _build_envelope(delivery: _ClaimedDelivery) -> Envelope:
    return Envelope(
        id=delivery.event_id,
        name=delivery.name,
        version=delivery.version,
        stream=delivery.stream,
        sequence=delivery.sequence,
        occurred_at=delivery.occurred_at,
        hops=delivery.hops,
        correlation_id=delivery.correlation_id,
        causation_id=delivery.causation_id,
        traceparent=delivery.traceparent,
        payload=msgspec.Raw(delivery.payload.encode()),
    )


def _deliver_batch(publisher: str, subscriber: str, batch: dict[int, Envelope]) -> list[int]:
    """Call the subscriber. Returns the deliveries that it acknowledged; the others stay due, with the reason."""
    try:
        with deadline(DELIVERY_TIMEOUT_SECONDS):
            refused = chaos.call_with_points(
                f"relay.{publisher}.{subscriber}", inbox.deliver, subscriber, batch.values()
            )
    except Exception as error:  # a problem of one subscriber must not stop the deliveries to the others
        connections.close_all()  # one of them may be broken; the next statement opens another one
        refused = {str(envelope.id): repr(error) for envelope in batch.values()}
    _record_refusals(publisher, subscriber, refused)
    return [delivery for delivery, envelope in batch.items() if str(envelope.id) not in refused]


def measure_lag(publisher: str) -> float:
    """Return the age in seconds of the oldest event that is not delivered to all its subscribers."""
    [(seconds,)] = fetch_rows(
        publisher,
        """SELECT coalesce(extract(epoch FROM now() - min(occurred_at)), 0)::float
           FROM shop_delivery JOIN shop_outboxevent event ON event.id = event_id WHERE acknowledged_at IS NULL""",
    )
    return float(seconds)


def purge(publisher: str) -> int:
    """Delete events older than 30 days, except in streams with undelivered events. Returns the number of events."""
    return execute(
        publisher,
        """WITH old AS (
             SELECT id FROM shop_outboxevent old WHERE occurred_at < now() - interval '30 days' AND NOT EXISTS (
               SELECT 1 FROM shop_delivery waiting WHERE waiting.stream = old.stream AND acknowledged_at IS NULL)),
           gone AS (DELETE FROM shop_delivery USING old WHERE event_id = old.id)
           DELETE FROM shop_outboxevent USING old WHERE shop_outboxevent.id = old.id""",
    )
