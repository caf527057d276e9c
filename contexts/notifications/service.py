"""Use cases of notifications."""

from contexts.notifications.interface import Notifications


class LocalNotifications(Notifications):
    """The use cases, in this process."""
