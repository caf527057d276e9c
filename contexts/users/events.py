"""What users announces."""

from uuid import UUID

from shop.events import Event


class UserEvent(Event, stream="users.user:{user_id}"):
    """Something happened to an account."""

    user_id: UUID


class UserRegistered(UserEvent, name="users.user_registered", version=1):
    """An account was opened."""
