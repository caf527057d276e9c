"""Time, as tests let it pass: by running what the engine would."""

import time
from collections.abc import Callable
from typing import Any

from shop import events

PATIENCE = 10.0


def sweep() -> None:
    """What orders and inventory do as time goes by."""
    _run("orders", "inventory")


def reconcile() -> None:
    """What payments does as time goes by."""
    _run("payments")


def _run(*contexts: str) -> None:
    for timer in events.timers(contexts):
        timer.run()


def until(seen: Callable[[], Any], *run: Callable[[], None]) -> None:
    """Run these, again and again, until something is to be seen; AssertionError if it never is."""
    deadline = time.monotonic() + PATIENCE
    for step in run:
        step()
    while not seen():
        assert time.monotonic() < deadline, f"not within {PATIENCE} s"
        for step in run:
            step()
        time.sleep(0.01)  # due times are the database's: there is nothing to wait on but its clock
