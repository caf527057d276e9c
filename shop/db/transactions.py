"""The open database transactions of the running thread. `shop.db.postgres` records them, guards read them."""

import threading

from shop.errors import InTransaction


class _TransactionState(threading.local):
    def __init__(self) -> None:
        self.open_aliases: list[str] = []
        # The alias on which the kernel opened a transaction that services join: for a handler or an idempotent request.
        self.joinable_alias: str | None = None


transaction_state = _TransactionState()


def assert_no_open_transaction(action: str) -> None:
    """Raise InTransaction if this thread holds a transaction on any alias. `action` begins the error message."""
    if transaction_state.open_aliases:
        raise InTransaction(f"{action} while a transaction is open on {', '.join(transaction_state.open_aliases)}")


def assert_no_other_transaction(alias: str) -> None:
    """Raise InTransaction if this thread holds a transaction on an alias other than `alias`."""
    if transaction_state.open_aliases and transaction_state.open_aliases[0] != alias:
        raise InTransaction(
            f"a statement on {alias} while a transaction is open on {transaction_state.open_aliases[0]}"
        )
