"""One transaction at a time: a thread that holds one on any alias can neither begin nor read on another.

A test's own transaction (django.test.TestCase) does not count.

And few messages: BEGIN travels with the transaction's first statement, and what nobody waits for (`put_off`) with the
next statement or with COMMIT. PostgreSQL takes several statements in one message of its simple query protocol.
"""

import hashlib
import itertools
import re
import select
from functools import partial
from typing import Any

import psycopg
from django.db import DatabaseError, OperationalError
from django.db.backends.postgresql import base
from django.db.backends.utils import debug_transaction
from django.db.transaction import TransactionManagementError
from django.db.utils import DatabaseErrorWrapper
from django.utils.functional import cached_property
from psycopg import OperationalError as CutOff
from psycopg.errors import IdleInTransactionSessionTimeout, ReadOnlySqlTransaction
from psycopg_pool import ConnectionPool

from shop import chaos
from shop.postgres import moves
from shop.transactions import held, refuse_beside

RECONNECT = 1.0  # seconds that a lost connection is tried again on its own; then each request tries


class _Blocks(list):
    """The atomic blocks of a connection; one that is not a test's own marks its alias as held."""

    def __init__(self, alias: str) -> None:
        super().__init__()
        self.alias = alias

    def append(self, block: Any) -> None:
        super().append(block)
        if not block._from_testcase and self.alias not in held.aliases:
            held.aliases.append(self.alias)

    def pop(self, *index: int) -> Any:
        block = super().pop(*index)
        if all(outer._from_testcase for outer in self):
            self.forget()
        return block

    def forget(self) -> None:
        if self.alias in held.aliases:
            held.aliases.remove(self.alias)


class NothingChanged(DatabaseError):
    """A statement that had to change a row found none, and so nothing of its transaction happened. Says which."""


class _Errors(DatabaseErrorWrapper):
    """Two outages like any other that psycopg calls internal errors: a server that is read-only for now, and a session
    that it has ended because its process was away in the middle of a transaction."""

    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        if isinstance(exc_value, psycopg.Error) and exc_value.sqlstate == "NC001":
            raise NothingChanged(exc_value.diag.message_primary) from None
        if isinstance(exc_value, ReadOnlySqlTransaction | IdleInTransactionSessionTimeout):
            self.wrapper.errors_occurred = True  # so that the connection is looked at before it is used again
            raise OperationalError(*exc_value.args).with_traceback(traceback) from exc_value
        super().__exit__(exc_type, exc_value, traceback)


class Prepared(str):
    """A statement that each connection plans once: for what costs more to plan than to run. `%s` or `%(name)s` inside."""

    def __init__(self, sql: str) -> None:
        self.names = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", sql)))
        numbers = {f"%({name})s": f"${n}" for n, name in enumerate(self.names, 1)}
        count = itertools.count(1)
        numbered = re.sub(r"%(?:\(\w+\))?s", lambda mark: numbers.get(mark[0]) or f"${next(count)}", sql)
        name = f"{sql.split()[0].lower()}_{hashlib.sha256(sql.encode()).hexdigest()[:16]}"
        self.plan = f"PREPARE {name} AS {numbered}".replace("%%", "%").encode()
        marks = ["%s"] * (len(self.names) or next(count) - 1)
        self.call = f"EXECUTE {name} ({', '.join(marks)})" if marks else f"EXECUTE {name}"

    def arguments(self, parameters: Any) -> Any:
        return [parameters[name] for name in self.names] if self.names else parameters


class Connection(psycopg.Connection):
    """A connection that knows what it has planned."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.planned: set[str] = set()

    @classmethod
    def connect(cls, conninfo: str = "", *, alias: str, **parameters: Any) -> "Connection":  # type: ignore[override]
        return moves.connect(alias, partial(super().connect, conninfo), parameters)


class Cursor(base.Cursor):
    """Sends what was put off in one message with the statement that follows it, and shows the outcome of that one."""

    unsent: list[bytes] = []

    def execute(self, query: Any, params: Any = None, **options: Any) -> "Cursor":
        if not self.unsent and not isinstance(query, Prepared):
            return super().execute(query, params, **options)
        message = [*self.unsent, self.merged(query, params)]
        self.unsent.clear()
        super().execute(b";".join(message))
        for _ in message[1:]:
            self.nextset()
        return self

    def merged(self, query: Any, params: Any) -> bytes:
        """Statement and parameters as they are sent."""
        if isinstance(query, Prepared):
            if query not in self.connection.planned:
                super().execute(query.plan)
                self.connection.planned.add(query)
            query, params = query.call, query.arguments(params)
        return self.mogrify(query, params).encode()

    def executemany(self, query: Any, *arguments: Any, **options: Any) -> None:
        if self.unsent:
            self.execute("SELECT")
        super().executemany(query, *arguments, **options)


class DatabaseWrapper(base.DatabaseWrapper):
    """django.db.backends.postgresql, with the one-transaction rule."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.unsent: list[bytes] = []

    @cached_property
    def wrap_database_errors(self) -> _Errors:
        return _Errors(self)

    @property
    def atomic_blocks(self) -> _Blocks:
        return self._blocks

    @atomic_blocks.setter
    def atomic_blocks(self, blocks: list) -> None:  # Django sets [] at start and at each reconnection
        if hasattr(self, "_blocks"):
            self._blocks.forget()
        self._blocks = _Blocks(self.alias)

    def _set_autocommit(self, autocommit: bool) -> None:
        """To psycopg the connection always commits by itself: BEGIN is ours, and is sent when there is something to say."""
        if not autocommit:
            refuse_beside(self.alias)
            self.unsent.append(b"BEGIN")

    def put_off(self, sql: str, parameters: Any) -> None:
        """Run a statement of the open transaction in one message with the next one, or with COMMIT."""
        if not self.in_atomic_block:
            raise TransactionManagementError("only a statement of a transaction can be put off")
        with self.wrap_database_errors:
            self.unsent.append(self.create_cursor().merged(sql, parameters))
        if self.queries_logged:
            self.queries_log.append({"sql": sql, "time": "0"})

    def _commit(self) -> None:
        if chaos.reached and self._writes():
            return chaos.call(f"{self.alias}.commit", self._send_commit)
        return self._send_commit()

    def _writes(self) -> bool:
        """Whether there is anything to commit: PostgreSQL gives an id to a transaction that has written."""
        if self.unsent:
            return self.unsent != [b"BEGIN"]
        with self.wrap_database_errors:
            return self.connection.execute("SELECT pg_current_xact_id_if_assigned() IS NOT NULL").fetchone()[0]

    def _send_commit(self) -> None:
        unsent, self.unsent[:] = self.unsent[:], []
        if unsent in ([], [b"BEGIN"]):
            return super()._commit()
        with debug_transaction(self, "COMMIT"), self.wrap_database_errors:
            self.connection.execute(b";".join([*unsent, b"COMMIT"]))

    def _rollback(self) -> None:
        self.unsent.clear()
        super()._rollback()

    def _close(self) -> None:
        self.unsent.clear()
        super()._close()

    def get_connection_params(self) -> dict[str, Any]:
        return super().get_connection_params() | {"cursor_factory": Cursor}

    def create_cursor(self, name: str | None = None) -> Any:
        if name and self.unsent:
            self.create_cursor().execute("SELECT")
        cursor = super().create_cursor(name)
        cursor.unsent = self.unsent
        return cursor

    @property
    def pool(self) -> ConnectionPool | None:
        """As Django's, but back at once after an outage: by default a pool waits up to minutes between two tries."""
        if self.alias not in self._connection_pools and self.settings_dict["OPTIONS"].get("pool"):
            pool = ConnectionPool(
                connection_class=Connection,
                kwargs=self.get_connection_params() | {"autocommit": True, "alias": self.alias},
                configure=self._configure_connection, check=self._check, reconnect_timeout=RECONNECT, open=False,
                **self.settings_dict["OPTIONS"]["pool"],
            )  # fmt: skip
            self._connection_pools.setdefault(self.alias, pool)
        return self._connection_pools.get(self.alias)

    def _check(self, connection: Any) -> None:
        """An idle connection has nothing to say. One that has may be cut by the server, and then its neighbours are too."""
        idle = select.poll()
        idle.register(connection.fileno(), select.POLLIN)
        if not idle.poll(0):
            return
        try:
            ConnectionPool.check_connection(connection)
        except CutOff:
            self._connection_pools[self.alias].drain()
            raise

    def _cursor(self, name: str | None = None) -> Any:
        refuse_beside(self.alias)
        return super()._cursor(name)
