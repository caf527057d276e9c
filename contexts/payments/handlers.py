"""Timers of payments."""

from datetime import timedelta

from contexts.payments.service import processing
from shop.messaging.events import every


@every(timedelta(seconds=0.5))
def reconcile() -> None:
    """Resolve due payments at their providers. A lease lets one worker at a time process a payment."""
    processing.reconcile_due()
