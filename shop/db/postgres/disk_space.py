"""Which databases have a full disk: PostgreSQL still accepts sessions and reads then, but stores nothing."""

import threading
import time

MEMORY_SECONDS = 15.0  # how long a statement that was refused counts, also that of the probe
PROBE_INTERVAL_SECONDS = 5.0  # a process writes the file of the probe to a database at most once in this time

# Write a megabyte to a temporary file, next to the tables. It needs work_mem = '64kB', and leaves nothing behind.
PROBE_SQL = """
WITH filler AS MATERIALIZED (SELECT repeat('x', 8000) FROM generate_series(1, 128)) SELECT count(*) FROM filler"""

_refused_at: dict[str, float] = {}
_probed_at: dict[str, float] = {}
_lock = threading.Lock()


def note_full_disk(alias: str) -> None:
    """Remember that a statement of this process failed because the disk of its database is full."""
    _refused_at[alias] = time.monotonic()


def was_disk_full(alias: str) -> bool:
    """Return whether that happened within MEMORY_SECONDS."""
    return time.monotonic() - _refused_at.get(alias, float("-inf")) < MEMORY_SECONDS


def claim_probe(alias: str) -> bool:
    """Return whether the caller has to probe the database now: no caller has within PROBE_INTERVAL_SECONDS."""
    now = time.monotonic()
    with _lock:
        is_due = now - _probed_at.get(alias, float("-inf")) >= PROBE_INTERVAL_SECONDS
        if is_due:
            _probed_at[alias] = now
        return is_due


def forget_probes() -> None:
    """Let the next caller of `claim_probe` probe."""
    _probed_at.clear()
