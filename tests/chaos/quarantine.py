"""Keeps a child to its own order: what others have left unfinished is locked, as by a worker that has it in hand."""

from types import TracebackType

import psycopg

from config.settings import database

EVERYWHERE = ("shop_delivery WHERE acknowledged_at IS NULL", "shop_inboxrow WHERE handled_at IS NULL")
OWN = {
    "orders": "orders_order WHERE due_at IS NOT NULL",
    "payments": "payments_payment WHERE due_at IS NOT NULL",
    "inventory": "inventory_reservation WHERE status = 'held'",
    "notifications": "notifications_message WHERE due_at IS NOT NULL",
}


class Quarantine:
    """Row locks, which claims pass over (SKIP LOCKED), until the end of the block."""

    def __enter__(self) -> "Quarantine":
        self.sessions = {context: _session(context) for context in OWN}
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        for session in self.sessions.values():
            session.close()

    def hold(self) -> None:
        """Lock all that is unfinished by now. Waits for the sessions of who was killed to end."""
        for context, session in self.sessions.items():
            for which in (*EVERYWHERE, OWN[context]):
                session.execute(f"SELECT 1 FROM {which} FOR NO KEY UPDATE")


def _session(context: str) -> psycopg.Connection:
    return psycopg.connect(**place_of(context))


def place_of(context: str) -> dict[str, str]:
    """Where a context's database is, also for a process that does not host it."""
    to = database(context)
    names = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}
    return {name: to[ours] for name, ours in names.items() if to.get(ours)}
