"""Restrict a child to its own order: lock everything that others have left unfinished, as a worker that processes it does."""

from types import TracebackType

import psycopg

from config.settings import build_database

KERNEL_ROWS = ("shop_delivery WHERE acknowledged_at IS NULL", "shop_inboxrow WHERE handled_at IS NULL")
CONTEXT_ROWS = {
    "orders": "orders_order WHERE due_at IS NOT NULL",
    "payments": "payments_payment WHERE due_at IS NOT NULL",
    "inventory": "inventory_reservation WHERE status = 'held'",
    "notifications": "notifications_message WHERE due_at IS NOT NULL",
}


class UnfinishedRowLocks:
    """Row locks until the end of the block. Claims skip locked rows (SKIP LOCKED)."""

    def __enter__(self) -> "UnfinishedRowLocks":
        self.sessions = {context: _connect(context) for context in CONTEXT_ROWS}
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        for session in self.sessions.values():
            session.close()

    def lock_unfinished(self) -> None:
        """Lock everything that is unfinished now. This waits until the sessions of killed processes have ended."""
        for context, session in self.sessions.items():
            for which in (*KERNEL_ROWS, CONTEXT_ROWS[context]):
                session.execute(f"SELECT 1 FROM {which} FOR NO KEY UPDATE")


def _connect(context: str) -> psycopg.Connection:
    return psycopg.connect(**connection_parameters(context))


def connection_parameters(context: str) -> dict[str, str]:
    """Return the connection parameters of a context's database, also in a process that does not host the context."""
    database = build_database(context)
    names = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}
    return {name: database[key] for name, key in names.items() if database.get(key)}
