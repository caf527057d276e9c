"""Use cases of users."""

from contexts.users.interface import Users


class LocalUsers(Users):
    """The use cases, in this process."""
