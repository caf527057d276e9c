"""Parked events: inbox rows whose handler failed too often. Staff list, replay or discard them."""

from collections.abc import Iterable

from shop.db.database import execute
from shop.errors import Conflict
from shop.models import InboxRow


class NotParked(Conflict):
    """Only a parked event can be replayed or discarded."""


def list_parked(context: str, limit: int = 100) -> list[InboxRow]:
    """List the parked rows of a context, the oldest first."""
    return list(InboxRow.objects.using(context).filter(parked_at__isnull=False).order_by("parked_at")[:limit])


def replay(context: str, ids: Iterable[int]) -> int:
    """Make parked rows due again. Returns the number of rows; rows that are not parked stay unchanged."""
    return execute(
        context,
        """UPDATE shop_inboxrow SET parked_at = NULL, due_at = now(), failures = 0, starts = 0
           WHERE id = ANY(%s) AND parked_at IS NOT NULL AND handled_at IS NULL""",
        [list(ids)],
    )


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
