"""Cursors that send several statements in one message, and statements that each connection plans once.

PostgreSQL takes several statements in one message of its simple query protocol. So a statement whose result is not
needed (BEGIN, or one of `execute_deferred`) waits for the next one, which saves a round trip.
"""

import hashlib
import itertools
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg
from django.db.backends.postgresql import base
from psycopg.errors import ConnectionTimeout

from shop.db.postgres import locations
from shop.db.postgres.circuits import GuardedConnection, get_circuit

if TYPE_CHECKING:  # django-stubs does not declare what this class inherits from psycopg
    DjangoCursor = psycopg.ClientCursor[Any]
else:
    DjangoCursor = base.Cursor

Parameters = Sequence[Any] | Mapping[str, Any]  # values of all types that psycopg adapts


class PreparedStatement(str):
    """A statement that each connection plans once, for statements that cost more to plan than to run.

    Its parameters are all `%s` or all `%(name)s`.
    """

    def __init__(self, sql: str) -> None:
        self.parameter_names = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", sql)))
        numbers = {f"%({name})s": f"${n}" for n, name in enumerate(self.parameter_names, 1)}
        count = itertools.count(1)
        numbered = re.sub(r"%(?:\(\w+\))?s", lambda placeholder: numbers.get(placeholder[0]) or f"${next(count)}", sql)
        name = f"{sql.split()[0].lower()}_{hashlib.sha256(sql.encode()).hexdigest()[:16]}"
        self.prepare_sql = f"PREPARE {name} AS {numbered}".replace("%%", "%").encode()
        placeholders = ["%s"] * (len(self.parameter_names) or next(count) - 1)
        self.execute_sql = f"EXECUTE {name} ({', '.join(placeholders)})" if placeholders else f"EXECUTE {name}"

    def order_parameters(
        self, parameters: Any
    ) -> Sequence[object]:  # a sequence or a mapping, matching the placeholder style
        return [parameters[name] for name in self.parameter_names] if self.parameter_names else parameters


class Connection(GuardedConnection):
    """A connection that remembers the statements that it has prepared, and follows a database that has moved."""

    def __init__(self, *arguments: Any, **options: Any) -> None:  # those of psycopg
        super().__init__(*arguments, **options)
        self.prepared_statements: set[str] = set()

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


class Cursor(DjangoCursor):
    """Send the pending statements in one message with the next statement, and return the result of that one."""

    connection: Connection
    pending_statements: list[bytes] = []  # shared with the DatabaseWrapper that created the cursor

    def execute(self, query: Any, params: Any = None, **options: Any) -> "Cursor":  # types as psycopg's
        if not self.pending_statements and not isinstance(query, PreparedStatement):
            super().execute(query, params, **options)
            return self
        message = [*self.pending_statements, self.render_statement(query, params)]
        self.pending_statements.clear()
        super().execute(b";".join(message))
        for _ in message[1:]:
            self.nextset()
        return self

    def render_statement(self, query: Any, params: Any) -> bytes:
        """Return the statement as it is sent, with its parameters. Prepares a PreparedStatement if necessary."""
        if isinstance(query, PreparedStatement):
            if query not in self.connection.prepared_statements:
                super().execute(query.prepare_sql)
                self.connection.prepared_statements.add(query)
            query, params = query.execute_sql, query.order_parameters(params)
        return self.mogrify(query, params).encode()

    def executemany(self, query: Any, *arguments: Any, **options: Any) -> None:
        self.send_pending_statements()
        super().executemany(query, *arguments, **options)

    def send_pending_statements(self) -> None:
        """Send the pending statements on their own, before something that cannot be sent together with them."""
        if self.pending_statements:
            self.execute("SELECT")
