"""Parked events, which staff list, replay or discard. Each belongs to the database in which it is parked.

- A received event (inbox row) is parked when its handler failed too often, or does not exist for a long time. Later events
  of the stream wait for it in that handler.
- A delivery is parked at its publisher when the subscriber has refused it for a long time. The stream goes on: later events
  are delivered to the subscriber without it. A replayed delivery takes its place again, before the later ones that are not
  delivered yet; those that were delivered meanwhile stay ahead of it.
"""

from collections.abc import Collection, Iterable
from typing import NamedTuple

from shop.audit import audit
from shop.db.database import execute, fetch_rows, transaction
from shop.errors import Conflict
from shop.messaging.events import MAX_REPLAY_AGE
from shop.models import Delivery, InboxRow

DELIVERY_PREFIX = "delivery-"
MAX_LISTED = 10_000  # of one context


class NotParked(Conflict):
    """Only a parked event can be replayed or discarded."""


class ParkedId(NamedTuple):
    """The id of a parked event within its context, as people read it: `12` in the inbox, `delivery-12` in the outbox."""

    number: int
    is_delivery: bool = False

    def __str__(self) -> str:
        return f"{DELIVERY_PREFIX if self.is_delivery else ''}{self.number}"

    @property
    def object_type(self) -> str:
        """Return the type in the audit log."""
        return "delivery" if self.is_delivery else "inboxrow"


def parse_id(text: str) -> ParkedId:
    """Parse the id of a parked event. Raises ValueError."""
    number = text.removeprefix(DELIVERY_PREFIX)
    if not (number.isascii() and number.isdecimal() and len(number) < 19):
        raise ValueError(f"{text!r} is not the id of a parked event")
    return ParkedId(int(number), number != text)


def list_parked(context: str, limit: int = MAX_LISTED) -> list[InboxRow]:
    """List the parked rows of a context's inbox, the oldest first."""
    return list(InboxRow.objects.using(context).filter(parked_at__isnull=False).order_by("parked_at")[:limit])


def list_parked_deliveries(publisher: str, limit: int = MAX_LISTED) -> list[Delivery]:
    """List the parked deliveries of a context's outbox with their events, in the order of their streams."""
    parked = Delivery.objects.using(publisher).filter(parked_at__isnull=False, acknowledged_at=None)
    return list(parked.select_related("event").order_by("stream", "sequence", "subscriber")[:limit])


def replay(context: str, ids: Iterable[int]) -> list[int]:
    """Make parked rows due again. Returns their ids; rows that are not parked stay unchanged."""
    rows = fetch_rows(
        context,
        """UPDATE shop_inboxrow SET parked_at = NULL, due_at = now(), failures = 0, starts = 0
           WHERE id = ANY(%s) AND parked_at IS NOT NULL AND handled_at IS NULL RETURNING id""",
        [list(ids)],
    )
    return [row_id for (row_id,) in rows]


def replay_deliveries(publisher: str, ids: Collection[int]) -> list[int]:
    """Make parked deliveries due again. Returns their ids. Others, and those that are too old, stay unchanged.

    If the subscriber refuses a replayed delivery again, it is parked again at once.
    """
    rows = fetch_rows(
        publisher,
        """UPDATE shop_delivery SET parked_at = NULL, refused_since = NULL, replayed_at = now(), due_at = now(), attempts = 0
           FROM shop_outboxevent event
           WHERE event.id = event_id AND shop_delivery.id = ANY(%s) AND parked_at IS NOT NULL AND acknowledged_at IS NULL
             AND occurred_at > now() - %s RETURNING shop_delivery.id""",
        [list(ids), MAX_REPLAY_AGE],
    )
    return [delivery_id for (delivery_id,) in rows]


def discard(context: str, row_id: int, *, reason: str) -> None:
    """Mark a parked row as handled without running its handler, which unblocks its stream. Raises NotParked."""
    discarded = execute(
        context,
        """UPDATE shop_inboxrow SET handled_at = now(), parked_at = NULL, discarded_because = %s
           WHERE id = %s AND parked_at IS NOT NULL AND handled_at IS NULL""",
        [reason, row_id],
    )
    if not discarded:
        raise NotParked


def discard_delivery(publisher: str, delivery_id: int, *, reason: str) -> None:
    """End a parked delivery without delivering it. Raises NotParked."""
    discarded = execute(
        publisher,
        """UPDATE shop_delivery SET acknowledged_at = now(), parked_at = NULL, discarded_because = %s
           WHERE id = %s AND parked_at IS NOT NULL AND acknowledged_at IS NULL""",
        [reason, delivery_id],
    )
    if not discarded:
        raise NotParked


def replay_for_staff(context: str, ids: Collection[ParkedId], *, actor: str) -> int:
    """Replay parked events, and record who did it for each that is replayed. Returns the number of these events."""
    rows = [one.number for one in ids if not one.is_delivery]
    deliveries = [one.number for one in ids if one.is_delivery]
    with transaction(context):
        replayed = [ParkedId(number) for number in replay(context, rows)] if rows else []
        if deliveries:
            replayed += [ParkedId(number, is_delivery=True) for number in replay_deliveries(context, deliveries)]
        for one in replayed:
            audit(context, actor=actor, action="replay event", object_type=one.object_type, object_id=one.number)
    return len(replayed)


def discard_for_staff(context: str, parked: ParkedId, *, actor: str, reason: str) -> None:
    """Discard a parked event and record who did it and why. Raises NotParked."""
    with transaction(context):
        (discard_delivery if parked.is_delivery else discard)(context, parked.number, reason=reason)
        audit(
            context,
            actor=actor,
            action="discard event",
            object_type=parked.object_type,
            object_id=parked.number,
            reason=reason,
        )
