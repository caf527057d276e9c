"""Relay: carries what the outbox holds to the inboxes of the subscribers, in order within a stream."""

from collections import defaultdict

import msgspec
import structlog
from django.db import connections

from shop import chaos, inbox
from shop.database import Prepared, changed, hosted, rows
from shop.events import Envelope
from shop.remote import within

BATCH = 50
PATIENCE = 2.0  # seconds until a hand-over that was not acknowledged is made again, doubling
HAND_OVER = 1.5  # seconds that it may take, so that nobody else makes it meanwhile

log = structlog.get_logger(__name__)

# Committed before anything is sent. A delivery is due only when all earlier ones of its subscriber and stream are
# acknowledged. Never "id greater than the last one": a transaction that committed late would be passed over.
# ANY(ARRAY) and OFFSET 0 leave the planner nothing to join: it would read whole tables for each row of a shop whose
# tables were small when it looked last.
_CLAIM = Prepared("""
WITH claimed AS (
    UPDATE shop_delivery SET attempts = attempts + 1,
           due_at = now() + least(10, %s * power(2, least(attempts, 10))) * interval '1 second'
    WHERE id = ANY(ARRAY(
        SELECT id FROM shop_delivery due
        WHERE acknowledged_at IS NULL AND due_at <= now() AND sequence = (
            SELECT min(sequence) FROM shop_delivery earlier
            WHERE earlier.subscriber = due.subscriber AND earlier.stream = due.stream AND earlier.acknowledged_at IS NULL)
        ORDER BY due_at LIMIT %s FOR UPDATE SKIP LOCKED))
    RETURNING id, subscriber, event_id)
SELECT claimed.id, subscriber, event.* FROM claimed CROSS JOIN LATERAL (
    SELECT id, name, version, stream, sequence, occurred_at, hops, correlation_id, causation_id, traceparent, payload::text
    FROM shop_outboxevent WHERE id = claimed.event_id OFFSET 0) AS event""")


_ACKNOWLEDGE = Prepared(
    "UPDATE shop_delivery SET acknowledged_at = now(), error = '' WHERE id = ANY(%s) AND acknowledged_at IS NULL"
)


def deliver_due(publisher: str) -> int:
    """Hand over what is due in one context's outbox, and record what was acknowledged. Returns how many were claimed."""
    claimed = rows(publisher, _CLAIM, [PATIENCE, BATCH])
    by_subscriber: dict[str, dict[int, Envelope]] = defaultdict(dict)
    for delivery, subscriber, *fields in claimed:
        by_subscriber[subscriber][delivery] = _envelope(*fields)
    acknowledged: list[int] = []
    for subscriber in sorted(by_subscriber, key=lambda one: one not in hosted()):
        if subscriber not in hosted():  # it may keep us waiting
            _acknowledge(publisher, acknowledged)
            acknowledged = []
        acknowledged += _hand_over(publisher, subscriber, by_subscriber[subscriber])
    _acknowledge(publisher, acknowledged)
    return len(claimed)


def _acknowledge(publisher: str, deliveries: list[int]) -> None:
    if deliveries:
        changed(publisher, _ACKNOWLEDGE, [deliveries])


def _envelope(event_id, name, version, stream, sequence, occurred_at, hops, correlation, causation, parent, payload):
    return Envelope(
        id=event_id, name=name, version=version, stream=stream, sequence=sequence, occurred_at=occurred_at, hops=hops,
        correlation_id=correlation, causation_id=causation, traceparent=parent, payload=msgspec.Raw(payload.encode()),
    )  # fmt: skip


def _hand_over(publisher: str, subscriber: str, batch: dict[int, Envelope]) -> list[int]:
    """The deliveries that the subscriber acknowledged. The others stay due and say why."""
    try:
        with within(HAND_OVER):
            refused = chaos.call(f"relay.{publisher}.{subscriber}", inbox.hand_over, subscriber, batch.values())
    except Exception as error:  # whatever is wrong with one subscriber, the others get theirs
        connections.close_all()  # one of them may be broken; the next statement gets another
        refused = {str(envelope.id): repr(error) for envelope in batch.values()}
    problems = {delivery: refused[str(e.id)] for delivery, e in batch.items() if str(e.id) in refused}
    for delivery, why in problems.items():
        log.error("event_not_accepted", publisher=publisher, subscriber=subscriber, name=batch[delivery].name, why=why)
        changed(publisher, "UPDATE shop_delivery SET error = %s WHERE id = %s", [why, delivery])
    return [delivery for delivery in batch if delivery not in problems]


def lag(publisher: str) -> float:
    """Seconds that the oldest undelivered fact has waited."""
    [(seconds,)] = rows(
        publisher,
        """SELECT coalesce(extract(epoch FROM now() - min(occurred_at)), 0)::float
           FROM shop_delivery JOIN shop_outboxevent event ON event.id = event_id WHERE acknowledged_at IS NULL""",
    )
    return seconds


def purge(publisher: str) -> int:
    """Forget facts that everybody acknowledged more than 30 days ago. Returns how many."""
    return changed(
        publisher,
        """WITH old AS (
             SELECT id FROM shop_outboxevent old WHERE occurred_at < now() - interval '30 days' AND NOT EXISTS (
               SELECT 1 FROM shop_delivery waiting WHERE waiting.stream = old.stream AND acknowledged_at IS NULL)),
           gone AS (DELETE FROM shop_delivery USING old WHERE event_id = old.id)
           DELETE FROM shop_outboxevent USING old WHERE shop_outboxevent.id = old.id""",
    )
