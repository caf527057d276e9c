"""Inbox: store each event once per handler, in the database of the subscribing context."""

from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import Protocol

from shop import clock
from shop.calls import methods, services
from shop.db.database import fetch_rows, hosted_contexts
from shop.errors import Unavailable
from shop.messaging import events
from shop.messaging.arrival import store
from shop.messaging.events import MAX_EVENT_AGE, Envelope

wake_callbacks: list[Callable[[str], None]] = []  # called with the context whose inbox has new rows


class Inbox(Protocol):
    """The interface that publishers call, local or remote."""

    @services.idempotent
    def accept(self, *, envelopes: tuple[Envelope, ...]) -> dict[str, str]:
        """See `accept`."""


@cache
def get_accept_method(context: str) -> methods.Method:
    """Return the wire method that delivers events to a context in another process."""
    return methods.Method(f"{context}.inbox", Inbox.accept)


def get_served_methods(contexts: Iterable[str]) -> dict[str, Callable[[bytes], bytes]]:
    """Map the wire name of each inbox of these contexts to the function that serves a request."""
    return {
        get_accept_method(context).name: partial(get_accept_method(context).serve, partial(_accept, context))
        for context in contexts
    }


def _accept(context: str, envelopes: tuple[Envelope, ...]) -> dict[str, str]:
    return accept(context, envelopes)


def deliver(context: str, envelopes: Iterable[Envelope]) -> dict[str, str]:
    """Call `accept` of a context, wherever it is hosted. Raises Unavailable, as every call does."""
    if context in hosted_contexts():
        return accept(context, envelopes)
    url = services.get_remote_url(context)
    if url is None:
        raise Unavailable(what=context)
    refused: dict[str, str] = services.bind_remote(get_accept_method(context), url)(envelopes=tuple(envelopes))
    return refused


def accept(context: str, envelopes: Iterable[Envelope]) -> dict[str, str]:
    """Store the envelopes for every handler of the context, in one transaction with the effects of those handled at once.

    Returns the reason for each refused event id; the publisher must not acknowledge those. Storing an event again
    changes nothing.
    """
    refused, accepted = {}, []
    for envelope in envelopes:
        if reason := _get_refusal_reason(context, envelope):
            refused[str(envelope.id)] = reason
        else:
            accepted += [(envelope, handler) for handler in events.list_handlers(context, envelope.name)]
    if accepted and not store(context, accepted):
        for wake in wake_callbacks:
            wake(context)
    return refused


def _get_refusal_reason(context: str, envelope: Envelope) -> str:
    event = events.get_declared_events().get(envelope.name)
    if event is None or not events.list_handlers(context, envelope.name):
        return f"{context} has no handler for {envelope.name}"
    if envelope.version > event.version:
        return f"{context} knows {envelope.name} up to version {event.version}, not {envelope.version}"
    if clock.now() - envelope.occurred_at > MAX_EVENT_AGE:
        return f"older than {MAX_EVENT_AGE.days} days: its inbox row may have been purged"
    return ""


def measure_lag(context: str) -> tuple[float, int]:
    """Return the age in seconds of the oldest unhandled row that is not parked, and the number of parked rows."""
    [(seconds, parked)] = fetch_rows(
        context,
        """SELECT coalesce(extract(epoch FROM now() - min(received_at) FILTER (WHERE parked_at IS NULL)), 0)::float,
                  count(*) FILTER (WHERE parked_at IS NOT NULL)
           FROM shop_inboxrow WHERE handled_at IS NULL""",
    )
    return seconds, parked
