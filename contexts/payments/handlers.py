"""Timers of payments."""

from datetime import timedelta

from contexts.payments.service import checks, processing
from shop.messaging.events import every


@every(timedelta(seconds=0.5))
def reconcile() -> None:
    """Resolve due payments at their providers. A lease lets one worker at a time process a payment."""
    processing.reconcile_due()


@every(timedelta(seconds=1))
def check_settled_payments() -> None:
    """Compare settled payments with their providers, and try refused captures and refunds again."""
    checks.check_due()
