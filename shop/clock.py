"""The time that people read. Leases and due times are the database's own business."""

from datetime import UTC, datetime


def now() -> datetime:
    """The present instant, timezone-aware, in UTC."""
    return datetime.now(UTC)
