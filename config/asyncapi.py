"""The AsyncAPI 3.0 document: what is announced, in which shape, on which stream, and who listens."""

from typing import Any

import msgspec
from django.conf import settings

from shop import events
from shop.events import Event

REF = "#/components/schemas/{name}"


def document() -> dict[str, Any]:
    """All declared events. A channel is a context's streams of one kind; each event is a message on it."""
    declared = sorted(events.declared().values(), key=lambda event: event.name)
    [*_], schemas = msgspec.json.schema_components(declared, ref_template=REF)
    channels: dict[str, dict[str, Any]] = {}
    for event in declared:
        channel = channels.setdefault(_channel(event), _described(event))
        channel["messages"][event.name] = {"$ref": f"#/components/messages/{event.name}"}
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Satsuma", "version": "1", "description": "The events of the shop's contexts."},
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": {
            f"{context}.{event}": _heard(context, events.declared()[event])
            for event, contexts in events.subscriptions().items() for context in contexts
        },
        "components": {"messages": {event.name: _message(event) for event in declared}, "schemas": schemas},
    }  # fmt: skip


def _channel(event: type[Event]) -> str:
    return event.stream.partition(":")[0]


def _described(event: type[Event]) -> dict[str, Any]:
    parameter = event.stream.partition("{")[2].rstrip("}")
    return {
        "address": event.stream,
        "description": f"In order within a stream, which is one {_channel(event).partition('.')[2]}.",
        "parameters": {parameter: {"description": "Whose stream it is."}},
        "messages": {},
    }


def _heard(context: str, event: type[Event]) -> dict[str, Any]:
    handlers = ", ".join(sorted(one.name.partition(".")[2] for one in events.handlers(context, event.name)))
    return {
        "action": "receive",
        "channel": {"$ref": f"#/channels/{_channel(event)}"},
        "summary": f"{context} handles it in {handlers}.",
        "messages": [{"$ref": f"#/channels/{_channel(event)}/messages/{event.name}"}],
    }


def _message(event: type[Event]) -> dict[str, Any]:
    return {
        "name": event.name,
        "title": event.__name__,
        "summary": (event.__doc__ or "").strip().partition("\n")[0],
        "x-version": event.version,
        "x-subscribers": settings.SUBSCRIPTIONS[event.name],
        "payload": {"$ref": REF.format(name=event.__name__)},
    }
