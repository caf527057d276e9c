"""What other contexts may ask of notifications: nothing yet. It listens."""

from typing import Protocol

from shop.services import service


class Notifications(Protocol):
    """Messages to people."""


notifications: Notifications = service("notifications", Notifications)
