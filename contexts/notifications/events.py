"""What notifications announces."""

from uuid import UUID

from shop.events import Event


class MessageEvent(Event, stream="notifications.message:{message_id}"):
    """Something happened to a message."""

    message_id: UUID


class MessageFailed(MessageEvent, name="notifications.message_failed", version=1):
    """The mail server refused the message for good."""

    reason: str
