"""The service interface of notifications. It has no methods yet: notifications handles events only."""

from enum import StrEnum
from typing import Protocol

from shop.calls.services import service


class MessageTemplate(StrEnum):
    """The subject of a message. The REST API calls it `kind`."""

    ORDER_CONFIRMED = "order_confirmed"
    ORDER_REJECTED = "order_rejected"
    ORDER_CANCELLED = "order_cancelled"
    ORDER_PUT_ON_HOLD = "order_put_on_hold"
    ORDER_REFUNDED = "order_refunded"
    ORDER_LINK = "order_link"
    WELCOME = "welcome"


class Channel(StrEnum):
    """How a message reaches its recipient."""

    IN_APP = "in_app"
    EMAIL = "email"


class MessageStatus(StrEnum):
    """The status of a message. An in-app message is sent when it is written."""

    WAITING = "waiting"
    SENT = "sent"
    FAILED = "failed"  # it can never be delivered
    PARKED = "parked"  # the mail server did not reply to several attempts: staff decide
    DISCARDED = "discarded"  # by staff


class Notifications(Protocol):
    """Messages to customers."""


notifications: Notifications = service("notifications", Notifications)
