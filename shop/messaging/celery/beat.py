"""A scheduler of Celery beat that needs no schedule file and does not wait for a broker that is unavailable or full."""

from typing import Any

from celery import beat

from shop.messaging.celery.broker import broker


class Scheduler(beat.Scheduler):  # type: ignore[misc]  # Celery has no types
    """Send the names of due timers to the workers. A worker that misses them runs its timers a little later."""

    def apply_async(self, entry: Any, producer: Any = None, advance: bool = True, **_: object) -> None:
        entry = self.reserve(entry) if advance else entry
        [names] = entry.args
        for context in names:
            broker.send(context, "timers", context, names[context])
