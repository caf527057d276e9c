"""Timers of users."""

from datetime import timedelta

from contexts.users.service import sessions, sign_in_throttle, staff_sessions
from shop.messaging.events import every


@every(timedelta(minutes=10))
def forget_what_has_run_out() -> None:
    """Delete expired refresh tokens, ended sessions of staff, and attempt counters."""
    sessions.delete_expired_tokens()
    staff_sessions.delete_ended()
    sign_in_throttle.delete_expired_counters()
