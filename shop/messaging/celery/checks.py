"""Checks of the settings of the broker, at the start of every process."""

import os
from typing import Any

from django.conf import settings
from django.core.checks import Error, register


@register()
def check_broker_url(**_: Any) -> list[Error]:
    """Check that the Celery engine has the address of its broker."""
    if settings.ENGINE == "celery" and not settings.BROKER_URL:
        message = "ENGINE is celery: set BROKER_URL to the address of Redis, Valkey or RabbitMQ (redis://… or amqp://…)"
        return [Error(message, id="config.E007")]
    return []


@register()
def check_conflicting_broker_variables(**_: Any) -> list[Error]:
    """Refuse variables that Celery prefers to the settings of the shop. Its own command sets one of them to BROKER_URL."""
    if settings.ENGINE != "celery":
        return []
    return [
        Error(f"{name} is set, and Celery would use it instead of BROKER_URL: unset it", id="config.E008")
        for name in ("CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL")
        if os.environ.get(name, settings.BROKER_URL) not in ("", settings.BROKER_URL)
    ]
