"""What users does when something happens elsewhere, and as time goes by."""

from datetime import timedelta

from contexts.users.service import attempts, sessions
from shop.events import every


@every(timedelta(minutes=10))
def forget_what_has_run_out() -> None:
    """Refresh tokens and counted attempts that nothing depends on any more."""
    sessions.forget()
    attempts.forget()
