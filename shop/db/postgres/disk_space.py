"""Which databases have a full disk: PostgreSQL still accepts sessions and reads then, but stores nothing."""

import time

MEMORY_SECONDS = 15.0  # how long a statement that was refused counts, although the probe finds room

# Write a megabyte to a temporary file, next to the tables. It needs work_mem = '64kB', and leaves nothing behind.
PROBE_SQL = """
WITH filler AS MATERIALIZED (SELECT repeat('x', 8000) FROM generate_series(1, 128)) SELECT count(*) FROM filler"""

_refused_at: dict[str, float] = {}


def note_full_disk(alias: str) -> None:
    """Remember that a statement of this process failed because the disk of its database is full."""
    _refused_at[alias] = time.monotonic()


def was_disk_full(alias: str) -> bool:
    """Return whether that happened within MEMORY_SECONDS."""
    return time.monotonic() - _refused_at.get(alias, float("-inf")) < MEMORY_SECONDS
