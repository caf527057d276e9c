"""Run the engine and its timers step by step, in each process of the shop."""

from shop.messaging import engine, events
from tests.topologies import five_processes


def run_until_idle() -> None:
    """Deliver and handle events until nothing is due."""
    if five_processes.current:
        five_processes.current.run_until_idle()
    else:
        engine.run_until_idle()


def run_checkout_timers() -> None:
    """Run the timers of orders and inventory once."""
    run_timers("orders", "inventory")


def run_payment_timers() -> None:
    """Run the timers of payments once."""
    run_timers("payments")


def run_timers(*contexts: str) -> None:
    """Run the timers of these contexts once."""
    if five_processes.current:
        return five_processes.current.run_timers(*contexts)
    for timer in events.list_timers(contexts):
        timer.run()
