"""Which database transactions the running thread holds. Written by `shop.postgres`, read by every guard."""

import threading

from shop.errors import InTransaction


class _Held(threading.local):
    def __init__(self) -> None:
        self.aliases: list[str] = []
        self.joinable: str | None = None  # opened by the kernel for a handler or an idempotent request


held = _Held()


def refuse(what: str) -> None:
    """Raise InTransaction if this thread holds a transaction on any alias."""
    if held.aliases:
        raise InTransaction(f"{what} while a transaction is open on {', '.join(held.aliases)}")


def refuse_beside(alias: str) -> None:
    """Raise InTransaction if this thread holds a transaction on an alias other than `alias`."""
    if held.aliases and held.aliases[0] != alias:
        raise InTransaction(f"a statement on {alias} while a transaction is open on {held.aliases[0]}")
