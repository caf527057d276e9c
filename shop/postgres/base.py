"""One transaction at a time: a thread that holds one on any alias can neither begin nor read on another.

A test's own transaction (django.test.TestCase) does not count.
"""

from typing import Any

from django.db import OperationalError
from django.db.backends.postgresql import base
from django.db.utils import DatabaseErrorWrapper
from django.utils.functional import cached_property
from psycopg import OperationalError as CutOff
from psycopg.errors import ReadOnlySqlTransaction
from psycopg_pool import ConnectionPool

from shop import chaos
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


class _Errors(DatabaseErrorWrapper):
    """A server that is read-only for now is an outage like any other; psycopg calls it an internal error."""

    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        if isinstance(exc_value, ReadOnlySqlTransaction):
            raise OperationalError(*exc_value.args).with_traceback(traceback) from exc_value
        super().__exit__(exc_type, exc_value, traceback)


class DatabaseWrapper(base.DatabaseWrapper):
    """django.db.backends.postgresql, with the one-transaction rule."""

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
        if not autocommit:
            refuse_beside(self.alias)
        super()._set_autocommit(autocommit)

    def _commit(self) -> None:
        if chaos.reached and self.has_written():
            return chaos.call(f"{self.alias}.commit", super()._commit)
        return super()._commit()

    def has_written(self) -> bool:
        """Whether PostgreSQL has given the open transaction an id, as it does to one that writes."""
        with self.wrap_database_errors:
            return self.connection.execute("SELECT pg_current_xact_id_if_assigned() IS NOT NULL").fetchone()[0]

    @property
    def pool(self) -> ConnectionPool | None:
        """As Django's, but back at once after an outage: by default a pool waits up to minutes between two tries."""
        if self.alias not in self._connection_pools and self.settings_dict["OPTIONS"].get("pool"):
            pool = ConnectionPool(
                kwargs=self.get_connection_params() | {"autocommit": True}, configure=self._configure_connection,
                check=self._check, reconnect_timeout=RECONNECT, open=False, **self.settings_dict["OPTIONS"]["pool"],
            )  # fmt: skip
            self._connection_pools.setdefault(self.alias, pool)
        return self._connection_pools.get(self.alias)

    def _check(self, connection: Any) -> None:
        """One idle connection that the server has cut means that its neighbours are cut too."""
        try:
            ConnectionPool.check_connection(connection)
        except CutOff:
            self._connection_pools[self.alias].drain()
            raise

    def _cursor(self, name: str | None = None) -> Any:
        refuse_beside(self.alias)
        return super()._cursor(name)
