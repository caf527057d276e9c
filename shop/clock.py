"""The clock for times that people read. Leases and due times are computed by the database, with its own clock."""

from datetime import UTC, datetime


def now() -> datetime:
    """Return the current time in UTC, timezone-aware."""
    return datetime.now(UTC)
