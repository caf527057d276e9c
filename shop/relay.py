"""Relay: carries what the outbox holds to the inboxes of the subscribers, in order within a stream."""

from collections import defaultdict
from collections.abc import Callable, Iterable

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

# Takes envelopes of a publisher to a subscriber that is going to `acknowledge` them, or says that it did not.
Send = Callable[[str, str, list[Envelope]], bool]
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
    RETURNING id, attempts, subscriber, event_id)
SELECT claimed.id, attempts, subscriber, event.* FROM claimed CROSS JOIN LATERAL (
    SELECT id, name, version, stream, sequence, occurred_at, hops, correlation_id, causation_id, traceparent, payload::text
    FROM shop_outboxevent WHERE id = claimed.event_id OFFSET 0) AS event""")

_ACKNOWLEDGED = "UPDATE shop_delivery SET acknowledged_at = now(), error = '' WHERE {} AND acknowledged_at IS NULL"
_ACKNOWLEDGE = Prepared(_ACKNOWLEDGED.format("id = ANY(%s)"))
_ACKNOWLEDGE_EVENTS = Prepared(f"""
WITH done AS ({_ACKNOWLEDGED.format("subscriber = %s AND event_id = ANY(%s::uuid[])")} RETURNING id, subscriber, stream)
SELECT EXISTS (SELECT FROM done JOIN shop_delivery next USING (subscriber, stream)
               WHERE next.acknowledged_at IS NULL AND next.id <> done.id)""")


def deliver_due(publisher: str, send: Send | None = None) -> int:
    """Hand over what is due in one context's outbox, and record what was acknowledged. Returns how many were claimed.

    Whoever sends gets one chance: what it has not brought in time is handed over here, so it may lose anything.
    """
    claimed = rows(publisher, _CLAIM, [PATIENCE, BATCH])
    to_send: dict[str, dict[int, Envelope]] = defaultdict(dict)
    by_hand: dict[str, dict[int, Envelope]] = defaultdict(dict)
    for delivery, attempts, subscriber, *fields in claimed:
        (to_send if send and attempts == 1 else by_hand)[subscriber][delivery] = _envelope(*fields)
    for subscriber, batch in to_send.items():
        if not chaos.call(f"send.{publisher}.{subscriber}", send, publisher, subscriber, list(batch.values())):
            by_hand[subscriber] |= batch
    _hand_over_all(publisher, by_hand)
    return len(claimed)


def _hand_over_all(publisher: str, by_subscriber: dict[str, dict[int, Envelope]]) -> None:
    acknowledged: list[int] = []
    for subscriber in sorted(by_subscriber, key=lambda one: one not in hosted()):
        if subscriber not in hosted():  # it may keep us waiting
            _acknowledge(publisher, acknowledged)
            acknowledged = []
        acknowledged += _hand_over(publisher, subscriber, by_subscriber[subscriber])
    _acknowledge(publisher, acknowledged)


def _acknowledge(publisher: str, deliveries: list[int]) -> None:
    if deliveries:
        changed(publisher, _ACKNOWLEDGE, [deliveries])


def acknowledge(publisher: str, subscriber: str, events: Iterable[str], refused: dict[str, str]) -> bool:
    """What a subscriber says of envelopes that were sent: it has stored these, and refused those (id and reason).

    By the events' ids, whoever claimed the deliveries meanwhile. A repeat changes nothing. Whether more may follow now.
    """
    [(more,)] = rows(publisher, _ACKNOWLEDGE_EVENTS, [subscriber, list(events)])
    _note_refused(publisher, subscriber, refused)
    return more


def _note_refused(publisher: str, subscriber: str, refused: dict[str, str]) -> None:
    """They stay due, and say why."""
    for event, why in refused.items():
        log.error("event_not_accepted", publisher=publisher, subscriber=subscriber, event_id=event, why=why)
        which = "subscriber = %s AND event_id = %s AND acknowledged_at IS NULL"
        changed(publisher, f"UPDATE shop_delivery SET error = %s WHERE {which}", [why, subscriber, event])


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
    _note_refused(publisher, subscriber, refused)
    return [delivery for delivery, envelope in batch.items() if str(envelope.id) not in refused]


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
