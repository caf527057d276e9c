"""The thread of a story: ids that flow from a request through calls and events into every log line."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import msgspec
import structlog

from shop.ids import uuid7


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """correlation: the story; causation: the request or event that led here; hops: events passed on the way."""

    correlation_id: str
    causation_id: str
    traceparent: str = ""
    hops: int = 0


_current: ContextVar[Trace | None] = ContextVar("trace", default=None)


def current() -> Trace:
    """The story that the running code belongs to; a new one if none was begun."""
    trace = _current.get()
    if trace is None:
        trace = new_story()
        _current.set(trace)
    return trace


def new_story() -> Trace:
    """A story that begins here."""
    identifier = str(uuid7())
    return Trace(correlation_id=identifier, causation_id=identifier)


@contextmanager
def following(trace: Trace) -> Iterator[None]:
    """Everything within belongs to this story, in the log too."""
    token = _current.set(trace)
    ids = structlog.contextvars.bind_contextvars(
        correlation_id=trace.correlation_id, causation_id=trace.causation_id
    )
    try:
        yield
    finally:
        structlog.contextvars.reset_contextvars(**ids)
        _current.reset(token)
