"""Events that users publishes."""

from uuid import UUID

from shop.messaging.events import Event


class UserEvent(Event, stream="users.user:{user_id}"):
    """An event about a user account."""

    user_id: UUID


class UserRegistered(UserEvent, name="users.user_registered", version=1):
    """A user account was created."""
