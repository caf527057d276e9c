"""Repeat the idempotent calls of a test at its end: those of this process and those of the five."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings

from shop.calls import services
from shop.models import OutboxEvent
from tests.topologies import five_processes


@contextmanager
def repeat_calls_at_end() -> Iterator[None]:
    """Repeat the idempotent calls of the block at its end, and check that none of them publishes an event."""
    services.idempotent_calls = []
    processes = five_processes.current
    if processes:
        processes.record_calls()
    yield
    calls, services.idempotent_calls = services.idempotent_calls, None
    before = count_published_events() if calls or processes else {}
    for call in calls:
        call()
    repeated = len(calls) + (processes.repeat_calls() if processes else 0)
    assert not repeated or count_published_events() == before, "a repeated call published an event"


def count_published_events() -> dict[str, int]:
    """Count the events that each context has published."""
    return {alias: OutboxEvent.objects.using(alias).count() for alias in settings.CONTEXTS}
