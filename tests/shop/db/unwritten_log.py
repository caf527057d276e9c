"""The part of the database server's log that is not on the disk yet: a crash would lose it."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.concurrency import eventually
from tests.shop.db.superuser_session import execute_as_superuser


def count_bytes_not_on_disk() -> int:
    """Return how much of the server's log a crash would lose."""
    [(size,)] = execute_as_superuser("SELECT (pg_current_wal_insert_lsn() - pg_current_wal_flush_lsn())::bigint")
    return size


@contextmanager
def stopped_wal_writer() -> Iterator[None]:
    """Stop the process that writes the log in the background: only commits that wait for the disk write it."""
    [(pid,)] = execute_as_superuser("SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'")
    os.kill(pid, signal.SIGSTOP)
    try:
        eventually(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
