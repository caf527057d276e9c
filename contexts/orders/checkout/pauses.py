"""Pause a checkout: why a worker stops, and when the order is due again."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import structlog
from django.conf import settings

from contexts.orders.models import Order
from shop.db.leases import backoff
from shop.messaging.events import Event

RECHECK_INTERVAL = timedelta(seconds=30)  # while waiting for an event: in case the event is late
# After the confirmation, an order is captured together with others. If the process dies with that set, the sweeper captures
# the order alone: it is due then, and its lease has expired.
CAPTURE_ALONE_AFTER = timedelta(seconds=3)
ALERT_AFTER_TRIES = 10  # unanswered tries of one step, after which each further one is logged as an error

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Pause:
    """A reason to release the lease: the checkout is final (no delay), or it is due again after `delay`.

    The transaction that releases the lease also writes `changes` and publishes `event`; `only_if` is its SQL condition.
    """

    delay: timedelta | None = None
    event: Event | None = None
    changes: Mapping[str, object] = field(default_factory=dict)  # column: value
    only_if: str = "true"


def get_full_hold() -> timedelta:
    """Return how long an order may wait for its payment, once its customer has acted on it."""
    return timedelta(seconds=settings.RESERVATION_HOLD_SECONDS)


def get_unpaid_hold() -> timedelta:
    """Return how long an order waits for its customer to act on the payment."""
    return min(get_full_hold(), timedelta(seconds=settings.UNPAID_HOLD_SECONDS))


def schedule_retry(order: Order, why: str) -> Pause:
    """Stay on the step, which may or may not have happened, and repeat it after a backoff."""
    order.tries += 1
    log_method = log.error if order.tries >= ALERT_AFTER_TRIES else log.warning
    log_method("checkout_waits", order=str(order.id), step=order.step, tries=order.tries, why=why)
    return Pause(backoff(order.tries))
