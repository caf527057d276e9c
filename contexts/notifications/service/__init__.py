"""Use cases of notifications: write, list and read messages, and send e-mails."""

from contexts.notifications.interface import Notifications


class LocalNotifications(Notifications):
    """Implement the interface of notifications in this process. It has no methods yet."""
