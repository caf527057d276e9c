"""Deadlines: how long the running code may wait for its calls to other contexts.

A deadline covers everything that its block calls, directly or not. A call to another process carries the remaining time
along, so that the callee does not work for a caller that has stopped waiting.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

CALL_TIMEOUT_SECONDS = 5.0  # for one call with all its attempts, unless a nearer deadline is set

_expires_at: ContextVar[float | None] = ContextVar("deadline", default=None)


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Limit the calls of this block to `seconds` altogether. Of nested deadlines the nearest one applies."""
    expires_at, outer = time.monotonic() + seconds, _expires_at.get()
    token = _expires_at.set(expires_at if outer is None else min(expires_at, outer))
    try:
        yield
    finally:
        _expires_at.reset(token)


def remaining_seconds() -> float:
    """Return the seconds that a call may take, at most CALL_TIMEOUT_SECONDS; zero or less after the deadline."""
    expires_at = _expires_at.get()
    return CALL_TIMEOUT_SECONDS if expires_at is None else min(CALL_TIMEOUT_SECONDS, expires_at - time.monotonic())
