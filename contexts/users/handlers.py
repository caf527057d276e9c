"""Timers of users."""

from datetime import timedelta

from shop import purging
from shop.messaging.events import every


@every(timedelta(minutes=10))
def forget_what_has_run_out() -> None:
    """Delete expired refresh tokens and attempt counters. The kernel's timer does it more often, in each context."""
    purging.purge_now("users")
