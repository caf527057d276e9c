"""Celery's beat, but it keeps no file, and a broker that is away or full does not keep it waiting."""

from typing import Any

from celery import beat

from config.messages import broker


class Scheduler(beat.Scheduler):
    """Rings for the timers. Whoever misses a ring runs its timer a little later: config/worker.py."""

    def apply_async(self, entry: Any, producer: Any = None, advance: bool = True, **_: Any) -> None:
        entry = self.reserve(entry) if advance else entry
        [names] = entry.args
        for context in names:
            broker.send(context, "timers", context, names[context])
