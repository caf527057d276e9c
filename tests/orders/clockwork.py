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
    _run("orders", "inventory")


def reconcile() -> None:
    """What payments does as time goes by."""
    _run("payments")


def _run(*contexts: str) -> None:
    if five.current:
        return five.current.run_timers(*contexts)
    for timer in events.timers(contexts):
        timer.run()
