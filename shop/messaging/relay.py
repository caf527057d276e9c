"""Relay: deliver the events of an outbox to the inboxes of the subscribers, in order within a stream."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec
import structlog
from django.conf import settings
from django.db import connections

from shop import chaos
from shop.calls.deadline import deadline
from shop.db.database import PreparedStatement, execute, fetch_rows, hosted_contexts
from shop.db.relaxed_commits import RELAX_SQL, Delivery, track_delivery
from shop.messaging import inbox
from shop.messaging.events import MAX_REPLAY_AGE, Envelope

BATCH_SIZE = 50
REDELIVERY_DELAY_SECONDS = 2.0  # until the first redelivery of what was not acknowledged; doubles with each attempt
DELIVERY_TIMEOUT_SECONDS = 1.5  # shorter than the redelivery delay, so that no other relay delivers at the same time

# Sends envelopes of a publisher to a subscriber, which calls `acknowledge` later. Returns False if they were not sent.
EnvelopeSender = Callable[[str, str, list[Envelope]], bool]
DeliveriesBySubscriber = dict[str, dict[int, Envelope]]
log = structlog.get_logger(__name__)

# Committed before anything is sent. A delivery is due only when all earlier ones of its subscriber and stream are
# acknowledged or parked. The condition is never "id greater than the last one": that would skip a transaction that commits
# late.
# ANY(ARRAY) and OFFSET 0 force index lookups. With outdated statistics the planner would choose sequential scans.
_CLAIM_DUE = PreparedStatement("""
WITH claimed AS (
    UPDATE shop_delivery SET attempts = attempts + 1,
           due_at = now() + least(10, %s * power(2, least(attempts, 10))) * interval '1 second'
    WHERE id = ANY(ARRAY(
        SELECT id FROM shop_delivery due
        WHERE acknowledged_at IS NULL AND parked_at IS NULL AND due_at <= now() AND sequence = (
            SELECT min(sequence) FROM shop_delivery earlier
            WHERE earlier.subscriber = due.subscriber AND earlier.stream = due.stream AND earlier.acknowledged_at IS NULL
              AND earlier.parked_at IS NULL)
        ORDER BY due_at LIMIT %s FOR UPDATE SKIP LOCKED))
    RETURNING id, attempts, subscriber, event_id, replayed_at IS NOT NULL AS was_parked)
SELECT claimed.id, attempts, subscriber, was_parked, event.* FROM claimed CROSS JOIN LATERAL (
    SELECT id, name, version, stream, sequence, occurred_at, hops, correlation_id, causation_id, traceparent, payload::text
    FROM shop_outboxevent WHERE id = claimed.event_id OFFSET 0) AS event""")


class _ClaimedDelivery(NamedTuple):
    """One row of `_CLAIM_DUE`."""

    id: int
    attempts: int
    subscriber: str
    was_parked: bool
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


_ACKNOWLEDGE_WHERE = """
UPDATE shop_delivery SET acknowledged_at = now(), error = '', refused_since = NULL, parked_at = NULL
WHERE {} AND acknowledged_at IS NULL"""
_ACKNOWLEDGE = PreparedStatement(_ACKNOWLEDGE_WHERE.format("id = ANY(%s)"))
# An acknowledgement that is lost is repeated.
_ACKNOWLEDGE_RELAXED = PreparedStatement(
    _ACKNOWLEDGE_WHERE.replace("WHERE", f"FROM {RELAX_SQL} WHERE").format("id = ANY(%s)")
)
_ACKNOWLEDGE_EVENTS = PreparedStatement(f"""
WITH done AS ({_ACKNOWLEDGE_WHERE.format("subscriber = %s AND event_id = ANY(%s::uuid[])")} RETURNING id, subscriber, stream)
SELECT EXISTS (SELECT FROM done JOIN shop_delivery next USING (subscriber, stream)
               WHERE next.acknowledged_at IS NULL AND next.parked_at IS NULL AND next.id <> done.id)""")

# A delivery that was replayed and is refused again, or that is too old to be replayed, is parked at once.
_IS_TO_PARK = "replayed_at IS NOT NULL OR refused_since <= now() - %s::interval OR occurred_at <= now() - %s::interval"
_RECORD_REFUSAL = PreparedStatement(f"""
UPDATE shop_delivery SET error = %s, refused_since = coalesce(refused_since, now()),
       parked_at = CASE WHEN {_IS_TO_PARK} THEN now() END,
       due_at = CASE WHEN {_IS_TO_PARK} THEN NULL ELSE due_at END
FROM shop_outboxevent event
WHERE event.id = event_id AND subscriber = %s AND event_id = %s::uuid AND acknowledged_at IS NULL AND parked_at IS NULL
RETURNING parked_at IS NOT NULL""")


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
    if to_deliver:
        _deliver_directly(publisher, to_deliver)
    return len(claimed)


def _deliver_directly(publisher: str, by_subscriber: DeliveriesBySubscriber) -> None:
    acknowledged: list[int] = []
    with track_delivery(publisher) as delivery:
        for subscriber in sorted(by_subscriber, key=lambda name: name not in hosted_contexts()):
            if subscriber not in hosted_contexts():  # a remote call may take long: record the local ones first
                _acknowledge(publisher, acknowledged, delivery)
                acknowledged = []
            acknowledged += _deliver_batch(publisher, subscriber, by_subscriber[subscriber])
        _acknowledge(publisher, acknowledged, delivery)


def _acknowledge(publisher: str, deliveries: list[int], delivery: Delivery) -> None:
    """Record acknowledgements. Without the session of the claim the deliveries stay due: what they caused may be lost."""
    if deliveries and not delivery.can_acknowledge():
        log.warning("acknowledgements_discarded", publisher=publisher, events=len(deliveries))
    elif deliveries:
        relaxed = settings.CONNECTIONS.relaxed_commits
        execute(publisher, _ACKNOWLEDGE_RELAXED if relaxed else _ACKNOWLEDGE, [deliveries])


def acknowledge(publisher: str, subscriber: str, events: Iterable[str], refused: dict[str, str]) -> bool:
    """Record which sent events a subscriber has stored, and the reason for each that it refused (by event id).

    Idempotent; also applies if another relay has claimed the deliveries. Returns whether more events of these streams
    wait for delivery.
    """
    [(has_more,)] = fetch_rows(publisher, _ACKNOWLEDGE_EVENTS, [subscriber, list(events)])
    _record_refusals(publisher, subscriber, refused)
    return bool(has_more)


def _record_refusals(publisher: str, subscriber: str, refused: dict[str, str]) -> None:
    """Store the reasons on the deliveries. They stay due, until they have been refused for a long time: then they are parked.

    Parking ends the retries of this delivery and lets its stream go on. See `shop.messaging.parking`.
    """
    limits = [settings.PARK_REFUSED_EVENTS_AFTER, MAX_REPLAY_AGE]
    for event, reason in refused.items():
        updated = fetch_rows(publisher, _RECORD_REFUSAL, [reason, *limits, *limits, subscriber, event])
        outcome = "delivery_parked" if (True,) in updated else "event_refused"
        log.error(outcome, publisher=publisher, subscriber=subscriber, event_id=event, reason=reason)


def _record_outage(publisher: str, deliveries: Iterable[int], reason: str) -> None:
    """Store the reason on deliveries that the subscriber did not respond to. An outage is not a refusal."""
    sql = "UPDATE shop_delivery SET error = %s WHERE id = ANY(%s) AND acknowledged_at IS NULL"
    execute(publisher, sql, [reason, list(deliveries)])


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
        was_parked=delivery.was_parked,
        is_repeated=delivery.attempts > 1,
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
        log.error("delivery_failed", publisher=publisher, subscriber=subscriber, events=len(batch), reason=repr(error))
        _record_outage(publisher, batch, repr(error))
        return []
    _record_refusals(publisher, subscriber, refused)
    return [delivery for delivery, envelope in batch.items() if str(envelope.id) not in refused]


class Backlog(NamedTuple):
    """The deliveries of an outbox that are not acknowledged."""

    lag_seconds: float  # age of the oldest event that is not delivered to all its subscribers; parked ones do not count
    refused: int  # refused by their subscriber, and retried
    parked: int


def measure_backlog(publisher: str) -> Backlog:
    """Measure what an outbox has not delivered."""
    [row] = fetch_rows(
        publisher,
        """SELECT coalesce(extract(epoch FROM now() - min(occurred_at) FILTER (WHERE parked_at IS NULL)), 0)::float,
                  count(*) FILTER (WHERE refused_since IS NOT NULL AND parked_at IS NULL),
                  count(*) FILTER (WHERE parked_at IS NOT NULL)
           FROM shop_delivery JOIN shop_outboxevent event ON event.id = event_id WHERE acknowledged_at IS NULL""",
    )
    return Backlog(*row)


def measure_lag(publisher: str) -> float:
    """Return the age in seconds of the oldest event that is neither delivered to all its subscribers nor parked."""
    return measure_backlog(publisher).lag_seconds
