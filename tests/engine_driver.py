"""Run the engine and its timers step by step, in each process of the shop."""

from shop.messaging import engine, events
from tests.topologies import five_processes
from tests.topologies.five_processes import CAPTURE_TIMER, MAX_ROUNDS, CommandFailed


def run_until_idle() -> None:
    """Capture the payments of confirmed orders, and deliver and handle events, until nothing is due."""
    if five_processes.current:
        return five_processes.current.run_until_idle()
    for _ in range(MAX_ROUNDS):
        capture_payments()
        if not engine.run_once():
            return
    raise CommandFailed(f"not idle after {MAX_ROUNDS} rounds: events cause further events without end")


def capture_payments() -> None:
    """Capture the payments of confirmed orders, which follows the answers to their requests."""
    if five_processes.current:
        return five_processes.current.capture_payments()
    for timer in events.list_timers(("orders",)):
        if timer.name == CAPTURE_TIMER:
            timer.run()


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
