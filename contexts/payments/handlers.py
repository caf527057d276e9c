"""What payments does as time goes by: it finds out what is still unknown, and ends what was begun."""

from datetime import timedelta

from contexts.payments.service import progress
from shop.events import every


@every(timedelta(seconds=0.5))
def reconcile() -> None:
    """Ask the providers about payments that are due. Each is claimed by its lease."""
    progress.reconcile()
