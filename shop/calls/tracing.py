"""Tracing: ids that pass from a request through calls and events into every log line."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import msgspec
import structlog

from shop import clients
from shop.ids import uuid7


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """The position of the running code in a chain of requests, calls and events.

    correlation_id: shared by the whole chain. causation_id: the request or event that led here.
    traceparent: the W3C trace context, if the request had one. hops: the number of events in the chain so far.
    client: whom the chain serves (shop/clients.py); none after an event.
    """

    correlation_id: str
    causation_id: str
    traceparent: str = ""
    hops: int = 0
    client: clients.Client = clients.NO_CLIENT


_current: ContextVar[Trace | None] = ContextVar("trace", default=None)


def get_current_trace() -> Trace:
    """Return the trace of the running code. Starts one if there is none."""
    trace = _current.get()
    if trace is None:
        trace = start_trace()
        _current.set(trace)
    return trace


def start_trace() -> Trace:
    """Return a new trace, which has itself as its cause."""
    identifier = str(uuid7())
    return Trace(correlation_id=identifier, causation_id=identifier)


@contextmanager
def use_trace(trace: Trace, **ids_of_logs: str) -> Iterator[None]:
    """Make this the current trace within the block, and add its ids, and more ids, to log lines."""
    token, client_token = _current.set(trace), clients.current.set(trace.client)
    ids = structlog.contextvars.bind_contextvars(
        correlation_id=trace.correlation_id, causation_id=trace.causation_id, **ids_of_logs
    )
    try:
        yield
    finally:
        structlog.contextvars.reset_contextvars(**ids)
        clients.current.reset(client_token)
        _current.reset(token)
