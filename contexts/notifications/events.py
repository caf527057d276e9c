"""The events of notifications."""

from uuid import UUID

from shop.messaging.events import Event


class MessageEvent(Event, stream="notifications.message:{message_id}"):
    """A message changed."""

    message_id: UUID


class MessageFailed(MessageEvent, name="notifications.message_failed", version=1):
    """The mail server refused the message permanently."""

    reason: str
