"""The idempotent calls of a test, made once more at its end: those of this process and those of the five."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings

from shop import services
from shop.models import OutboxEvent
from tests.topologies import five


@contextmanager
def repeated_at_the_end() -> Iterator[None]:
    """None of the calls that are made in this block may announce anything when it is made once more."""
    services.journal = []
    elsewhere = five.current
    if elsewhere:
        elsewhere.note()
    yield
    calls, services.journal = services.journal, None
    before = announced() if calls or elsewhere else {}
    for call in calls:
        call()
    repeated = len(calls) + (elsewhere.repeat() if elsewhere else 0)
    assert not repeated or announced() == before, "a repeated call announced something again"


def announced() -> dict[str, int]:
    """How many facts each context has announced."""
    return {alias: OutboxEvent.objects.using(alias).count() for alias in settings.CONTEXTS}
