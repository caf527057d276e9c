"""Time, as tests let it pass: by running what the engine would, in each process that the shop has."""

from shop import engine, events
from tests.topologies import five


def run_until_idle() -> None:
    """Deliver and handle until nothing is due."""
    if five.current:
        five.current.run_until_idle()
    else:
        engine.run_until_idle()


def sweep() -> None:
    """What orders and inventory do as time goes by."""
    run_timers("orders", "inventory")


def reconcile() -> None:
    """What payments does as time goes by."""
    run_timers("payments")


def run_timers(*contexts: str) -> None:
    """What these contexts do as time goes by."""
    if five.current:
        return five.current.run_timers(*contexts)
    for timer in events.timers(contexts):
        timer.run()
