"""Time, as tests let it pass: by running what the engine would."""

from shop import events


def sweep() -> None:
    """What orders and inventory do as time goes by."""
    _run("orders", "inventory")


def reconcile() -> None:
    """What payments does as time goes by."""
    _run("payments")


def _run(*contexts: str) -> None:
    for timer in events.timers(contexts):
        timer.run()
