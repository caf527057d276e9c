"""Build the AsyncAPI 3.0 document: which events are published, their schemas and streams, and their subscribers."""

from collections import defaultdict

import msgspec
from django.conf import settings

from shop.messaging import events
from shop.messaging.events import Event

SCHEMA_REF_TEMPLATE = "#/components/schemas/{name}"

JsonObject = dict[str, object]


def build_document() -> JsonObject:
    """Describe all declared events. A channel has all streams of one kind; each event is a message on it."""
    declared = sorted(events.get_declared_events().values(), key=lambda event: event.name)
    [*_], schemas = msgspec.json.schema_components(declared, ref_template=SCHEMA_REF_TEMPLATE)
    events_by_channel: dict[str, list[type[Event]]] = defaultdict(list)
    for event in declared:
        events_by_channel[_get_channel_name(event)].append(event)
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Satsuma", "version": "1", "description": "The events of the contexts of the shop."},
        "defaultContentType": "application/json",
        "channels": {name: _describe_channel(published) for name, published in events_by_channel.items()},
        "operations": {
            f"{context}.{event}": _describe_operation(context, events.get_declared_events()[event])
            for event, contexts in events.build_subscriptions().items() for context in contexts
        },
        "components": {"messages": {event.name: _describe_message(event) for event in declared}, "schemas": schemas},
    }  # fmt: skip


def _get_channel_name(event: type[Event]) -> str:
    return event.stream.partition(":")[0]


def _describe_channel(published: list[type[Event]]) -> JsonObject:
    event = published[0]
    subject = _get_channel_name(event).partition(".")[2].replace("_", " ")
    parameter = event.stream.partition("{")[2].rstrip("}")
    return {
        "address": event.stream,
        "description": f"One stream for each {subject}; the events of a stream are delivered in order.",
        "parameters": {parameter: {"description": f"Identifies the {subject}."}},
        "messages": {one.name: {"$ref": f"#/components/messages/{one.name}"} for one in published},
    }


def _describe_operation(context: str, event: type[Event]) -> JsonObject:
    channel = f"#/channels/{_get_channel_name(event)}"
    handlers = ", ".join(sorted(one.name.partition(".")[2] for one in events.list_handlers(context, event.name)))
    return {
        "action": "receive",
        "channel": {"$ref": channel},
        "summary": f"Handled by {context} in {handlers}.",
        "messages": [{"$ref": f"{channel}/messages/{event.name}"}],
    }


def _describe_message(event: type[Event]) -> JsonObject:
    return {
        "name": event.name,
        "title": event.__name__,
        "summary": (event.__doc__ or "").strip().partition("\n")[0],
        "x-version": event.version,
        "x-subscribers": settings.SUBSCRIPTIONS[event.name],
        "payload": {"$ref": SCHEMA_REF_TEMPLATE.format(name=event.__name__)},
    }
