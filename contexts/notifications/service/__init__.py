"""Use cases of notifications: messages and their readers, and sending."""

from contexts.notifications.interface import Notifications


class LocalNotifications(Notifications):
    """The interface of notifications, in this process: nobody has to ask it anything yet."""
