"""The database backend: a thread that holds a transaction on one alias can neither begin nor read on another.

The transaction of a test (django.test.TestCase) does not count. Django requires the module name `base` for a database backend.
"""

import select
from functools import partial
from typing import TYPE_CHECKING, Any, SupportsIndex, cast

import psycopg
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.postgresql import base
from django.db.backends.utils import debug_transaction
from django.db.transaction import Atomic, TransactionManagementError
from django.utils.functional import cached_property
from psycopg.pq.abc import PGresult
from psycopg_pool import ConnectionPool

from shop import chaos
from shop.db.postgres.circuits import get_circuit
from shop.db.postgres.cursor import Connection, Cursor
from shop.db.postgres.errors import ErrorWrapper
from shop.db.postgres.pools import SharedPool, get_budget
from shop.db.postgres.prepared import Item, Parameters, PreparedStatement
from shop.db.postgres.sessions import configure_session
from shop.db.transactions import assert_no_other_transaction, transaction_state

if TYPE_CHECKING:

    class DjangoWrapper(base.DatabaseWrapper):
        """Declare the members of Django's class that django-stubs leaves out."""

        _connection_pools: dict[str, SharedPool]

        def _configure_connection(self, connection: psycopg.Connection[Any]) -> bool: ...
        def _commit(self) -> None: ...
        def _rollback(self) -> None: ...
        def _close(self) -> None: ...
        def _cursor(self, name: str | None = None) -> object: ...

else:
    DjangoWrapper = base.DatabaseWrapper


class _AtomicBlocks(list[Atomic]):
    """The open atomic blocks of a connection.

    The alias counts as open while at least one block does not belong to a TestCase.
    """

    def __init__(self, alias: str) -> None:
        super().__init__()
        self.alias = alias

    def append(self, block: Atomic) -> None:
        super().append(block)
        if not _belongs_to_testcase(block) and self.alias not in transaction_state.open_aliases:
            transaction_state.open_aliases.append(self.alias)

    def pop(self, index: SupportsIndex = -1, /) -> Atomic:
        block = super().pop(index)
        if all(_belongs_to_testcase(outer) for outer in self):
            self.unmark_alias()
        return block

    def unmark_alias(self) -> None:
        if self.alias in transaction_state.open_aliases:
            transaction_state.open_aliases.remove(self.alias)


def _belongs_to_testcase(block: Atomic) -> bool:
    is_from_testcase: bool = block._from_testcase  # type: ignore[attr-defined]  # not in django-stubs
    return is_from_testcase


class DatabaseWrapper(DjangoWrapper):
    """Enforce one transaction per thread, and send BEGIN and deferred statements with the statement after them."""

    _blocks: _AtomicBlocks

    def __init__(self, settings_dict: dict[str, Any], alias: str = DEFAULT_DB_ALIAS) -> None:
        super().__init__(settings_dict, alias)
        self.pending: list[Item] = []

    @cached_property
    def wrap_database_errors(self) -> ErrorWrapper:
        return ErrorWrapper(self)

    @property
    def atomic_blocks(self) -> _AtomicBlocks:
        return self._blocks

    @atomic_blocks.setter
    def atomic_blocks(self, blocks: list[Atomic]) -> None:
        """Start with no open blocks. Django assigns [] when the wrapper is created and at each new connection."""
        if hasattr(self, "_blocks"):
            self._blocks.unmark_alias()
        self._blocks = _AtomicBlocks(self.alias)

    def _set_autocommit(self, autocommit: bool) -> None:
        """Leave psycopg in autocommit mode and put BEGIN into the pending statements."""
        if not autocommit:
            assert_no_other_transaction(self.alias)
            self.pending.append(b"BEGIN")

    def fetch_rows(self, statement: PreparedStatement, parameters: Parameters) -> list[tuple[Any, ...]]:
        """Run a prepared statement and return its rows, or an empty list if it returns none."""
        result = self.run(statement, parameters)
        return cast(Connection, self.connection).load_rows(result)

    def run(self, statement: PreparedStatement, parameters: Parameters) -> PGresult:
        """Run a prepared statement in one message with the pending ones, and return its result."""
        assert_no_other_transaction(self.alias)
        self.close_if_health_check_failed()
        self.ensure_connection()
        if self.execute_wrappers:
            return self._run_wrapped(statement, parameters)
        return self._run(statement, parameters)

    def _run_wrapped(self, statement: PreparedStatement, parameters: Parameters) -> PGresult:
        """Run it inside of the functions that were installed with `execute_wrapper`, as Django runs its own queries."""

        def run(statement: Any, parameters: Any, many: bool, context: dict[str, Any]) -> Any:  # as Django declares it
            return self._run(statement, parameters)

        for wrapper in reversed(self.execute_wrappers):
            run = partial(wrapper, run)
        result: PGresult = run(statement, parameters, False, {"connection": self, "cursor": None})
        return result

    def _run(self, statement: PreparedStatement, parameters: Parameters) -> PGresult:
        self.validate_no_broken_transaction()
        with self.wrap_database_errors:
            items = [*self.pending, self.connection.bind(statement, parameters)]
            self.pending.clear()
            self._log_query(statement)
            result: PGresult = self.connection.send(items)
            return result

    def _log_query(self, sql: str) -> None:
        if self.queries_logged:
            self.queries_log.append({"sql": sql, "time": "0"})

    def defer_statement(self, sql: str, parameters: Parameters) -> None:
        """Run a statement of the open transaction in one message with the next one, or with COMMIT."""
        if not self.in_atomic_block:
            raise TransactionManagementError("only a statement inside a transaction can be deferred")
        with self.wrap_database_errors:
            if isinstance(sql, PreparedStatement):
                self.pending.append(self.connection.bind(sql, parameters))
            else:
                self.pending.append(self.create_cursor().mogrify(sql, parameters).encode())
        self._log_query(sql)

    def _commit(self) -> None:
        if chaos.on_point_reached and self._has_written():
            chaos.call_with_points(f"{self.alias}.commit", self._send_commit)
        else:
            self._send_commit()

    def _has_written(self) -> bool:
        """Return whether there is anything to commit. PostgreSQL assigns an id to a transaction when it writes."""
        if self.pending:
            return self.pending != [b"BEGIN"]
        with self.wrap_database_errors:
            [has_id] = self.connection.execute("SELECT pg_current_xact_id_if_assigned() IS NOT NULL").fetchone()
        return bool(has_id)

    def _send_commit(self) -> None:
        unsent, self.pending[:] = self.pending[:], []
        if unsent == [b"BEGIN"]:
            return
        with debug_transaction(self, "COMMIT"), self.wrap_database_errors:
            self.connection.send([*unsent, b"COMMIT"])

    def _rollback(self) -> None:
        self.pending.clear()
        super()._rollback()

    def _close(self) -> None:
        self.pending.clear()
        super()._close()

    def get_new_connection(self, conn_params: dict[str, Any]) -> Connection:
        """Return a connection of the pool. Raises DatabaseSilent at once while the circuit of the database is open.

        A thread that has to wait for it gives its other connections back first, so that no two wait for each other.
        """
        get_circuit(self.alias).assert_closed()
        if self.pool and self.pool.is_exhausted():
            self._give_other_connections_back()
        connection: Connection = super().get_new_connection(conn_params)
        return connection

    def _give_other_connections_back(self) -> None:
        for other in connections.all(initialized_only=True):
            if other is not self and other.connection is not None and not other.in_atomic_block:
                other.close()

    def get_connection_params(self) -> dict[str, Any]:
        return super().get_connection_params() | {"cursor_factory": Cursor}

    def create_cursor(self, name: str | None = None) -> Any:  # a Cursor, or Django's server-side cursor for a name
        if name:
            self.create_cursor().send_pending()
        cursor = super().create_cursor(name)
        cursor.pending = self.pending
        return cursor

    @property
    def pool(self) -> SharedPool | None:
        """Return the alias's pool, like Django's. It opens our connections, and recovers at once after an outage."""
        if self.alias not in self._connection_pools and self.settings_dict["OPTIONS"].get("pool"):
            server = self.settings_dict
            budget = get_budget(str(server["HOST"]), str(server["PORT"]))
            pool = SharedPool(
                budget,
                name=self.alias,
                kwargs=self.get_connection_params() | {"autocommit": True, "alias": self.alias},
                configure=self._configure_pooled_connection,
                check=self._check_connection,
                **server["OPTIONS"]["pool"],
            )
            with budget.lock:
                pool = self._connection_pools[self.alias] = budget.pools.setdefault(self.alias, pool)
            get_circuit(self.alias).discard_idle = pool.drain
        return self._connection_pools.get(self.alias)

    def _configure_connection(self, connection: psycopg.Connection[Any]) -> bool:
        """Set time limits, time zone and session settings of a new connection. Returns whether Django has to commit them."""
        cast(Connection, connection).answer_timeout = self.settings_dict.get("ANSWER_TIMEOUT")
        super()._configure_connection(connection)
        configure_session(connection, self.settings_dict.get("SESSION", {}))
        return True

    def _configure_pooled_connection(self, connection: Connection) -> None:
        self._configure_connection(connection)

    def open_session(self) -> Connection:
        """Open a configured connection outside of the pool. Raises psycopg.OperationalError."""
        connection = Connection.connect(alias=self.alias, **self.get_connection_params() | {"autocommit": True})
        try:
            self._configure_connection(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _check_connection(self, connection: Connection) -> None:
        """Raise psycopg.OperationalError if the server has closed an idle connection.

        An idle connection has no data to read. If one has, the server may have closed it and others: all are replaced.
        """
        poll = select.poll()
        poll.register(connection.fileno(), select.POLLIN)
        if not poll.poll(0):
            return
        try:
            ConnectionPool.check_connection(connection)
        except psycopg.OperationalError:
            self._connection_pools[self.alias].drain()
            raise

    def _cursor(self, name: str | None = None) -> object:
        assert_no_other_transaction(self.alias)
        return super()._cursor(name)
