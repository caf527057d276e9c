"""Connections, and the cursors of Django's queries, which send the statements that were deferred before their own."""

from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import psycopg
from django.db.backends.postgresql import base
from psycopg.errors import ConnectionTimeout

from shop.db.postgres import locations
from shop.db.postgres.circuits import GuardedConnection, get_circuit
from shop.db.postgres.prepared import Item, PreparingConnection

if TYPE_CHECKING:  # django-stubs does not declare what this class inherits from psycopg
    DjangoCursor = psycopg.ClientCursor[Any]
else:
    DjangoCursor = base.Cursor

IDENTIFY_SERVER_SQL = "SELECT system_identifier, pg_postmaster_start_time() FROM pg_control_system()"


class Connection(PreparingConnection, GuardedConnection):
    """A connection that prepares statements, does not wait for ever, and follows a database that has moved."""

    @classmethod
    def connect(  # type: ignore[override]  # psycopg has no alias
        cls, conninfo: str = "", *, alias: str, **parameters: Any
    ) -> "Connection":
        circuit = get_circuit(alias)
        try:
            connection = locations.connect(alias, partial(super().connect, conninfo), parameters)
        except ConnectionTimeout:
            circuit.open(parameters)
            raise
        connection.circuit = circuit
        return connection

    @cached_property
    def server_identity(self) -> tuple[int, object] | None:
        """Identify the server and its start: a copy of its files has the same identifier. None if the role may not know."""
        try:
            found: tuple[int, object] | None = self.cursor().execute(IDENTIFY_SERVER_SQL).fetchone()
        except psycopg.errors.InsufficientPrivilege:
            return None
        return found


class Cursor(DjangoCursor):
    """Send the pending items before the next statement: in one message with it, if none of them is prepared."""

    connection: Connection
    pending: list[Item] = []  # shared with the DatabaseWrapper that created the cursor

    def execute(self, query: Any, params: Any = None, **options: Any) -> "Cursor":  # types as psycopg's
        texts = [item for item in self.pending if isinstance(item, bytes)]
        if len(texts) < len(self.pending):
            self.send_pending()
        if not self.pending:
            super().execute(query, params, **options)
            return self
        message = [*texts, self.mogrify(query, params).encode()]
        self.pending.clear()
        super().execute(b";".join(message))
        for _ in texts:
            self.nextset()
        return self

    def executemany(self, query: Any, *arguments: Any, **options: Any) -> None:
        self.send_pending()
        super().executemany(query, *arguments, **options)

    def send_pending(self) -> None:
        """Send the pending items on their own, before something that cannot be sent together with them."""
        if self.pending:
            items, self.pending[:] = self.pending[:], []
            self.connection.send(items)
