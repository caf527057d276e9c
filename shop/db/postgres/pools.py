"""Pools of connections, one for each database, and the budget that those on one server share.

A process opens at most DATABASE_CONNECTIONS to a server, one of which is left for probes (`open_limited_connection`). A pool
opens a connection when a thread needs it and none is idle, and closes those that no thread needed for a while. When the budget
is used up, the thread waits until another thread gives its connection back. If none does for a moment, an idle connection to
another database makes way: to open one costs more than to wait. A thread that waits holds no connection
(`DatabaseWrapper.get_new_connection`), so threads never wait for each other.
"""

import time
from contextlib import suppress
from typing import Any

from django.conf import settings
from psycopg_pool import ConnectionPool, PoolTimeout
from psycopg_pool._acompat import Lock

from shop.db.postgres.circuits import DEFAULT_PORT, EndingSessions
from shop.db.postgres.cursor import Connection

RECONNECT_TIMEOUT_SECONDS = 1.0  # max. background reconnect time of a pool; after it, each request tries
PROBE_CONNECTIONS = 1
FIRST_WAIT_SECONDS = 0.05  # without a connection, before an idle one to another database is closed to open one
SECOND_WAIT_SECONDS = 0.45  # then, before the pool is asked again whether another one makes way
MAX_STARVATION_SECONDS = 1.0  # after which threads that wait for a database come before those of the others


class ConnectionBudget:
    """The connections that the pools of this process may have to one server. The pools share its lock."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.lock = Lock()
        self.pools: dict[str, SharedPool] = {}  # by alias
        self.ending = EndingSessions()

    def count_connections(self) -> int:
        """Return how many connections are open, or are being opened."""
        return sum(pool._nconns for pool in tuple(self.pools.values()))

    def is_exhausted(self) -> bool:
        """Return whether a thread that needs another connection waits until a thread returns one."""
        return self.count_connections() >= self.limit and not any(pool._pool for pool in tuple(self.pools.values()))

    def make_way(self) -> None:
        """Close an idle connection of the pool with the most of them, if the budget is used up. Needs the lock."""
        idlest = max(self.pools.values(), key=lambda pool: len(pool._pool))
        if self.count_connections() >= self.limit and idlest._pool:
            idlest.close_idle(1)

    def serve_waiting_threads(self) -> None:
        """Let the pools grow for which threads wait: a connection has become idle or was closed."""
        if any(pool.has_waiting_threads() for pool in tuple(self.pools.values())):
            with self.lock:
                for pool in filter(SharedPool.has_waiting_threads, self.pools.values()):
                    pool._maybe_grow_pool()

    def find_starving_pool(self, giver: "SharedPool") -> "SharedPool | None":
        """Return another pool whose threads have waited for long, and which grows only if `giver` closes a connection."""
        starving = [pool for pool in self.pools.values() if pool is not giver and pool.is_starving()]
        return min(starving, key=lambda pool: pool.served_at) if starving and self.is_exhausted() else None


class SharedPool(ConnectionPool[Connection]):
    """The pool of one database, which grows and shrinks within the budget of its server."""

    def __init__(self, budget: ConnectionBudget, **options: Any) -> None:  # those of psycopg
        self.budget, self.max_connections, self.served_at = budget, 0, 0.0
        self.configure_connection = options.pop("configure")
        own: dict[str, Any] = {
            "connection_class": Connection,
            "reconnect_timeout": RECONNECT_TIMEOUT_SECONDS,
            "open": False,
        }
        super().__init__(configure=self._configure_or_close, **own | options)
        self._lock = budget.lock

    @property
    def _max_size(self) -> int:  # an attribute of psycopg's
        """Return how large the pool may be now. Only used with the lock."""
        return min(self.max_connections, self._nconns + max(0, self.budget.limit - self.budget.count_connections()))

    @_max_size.setter
    def _max_size(self, size: int) -> None:
        self.max_connections = size

    def has_waiting_threads(self) -> bool:
        return any(not (client.conn or client.error) for client in tuple(self._waiting))

    def is_exhausted(self) -> bool:
        """Return whether a thread that needs a connection to this database waits until a thread returns one."""
        return not self._pool and (self.budget.is_exhausted() or self._nconns >= self.max_connections)

    def is_starving(self) -> bool:
        """Return whether threads wait, and none was served for long. Needs the lock."""
        can_grow = not self._growing and self._nconns < self.max_connections
        return can_grow and self.served_at < time.monotonic() - MAX_STARVATION_SECONDS and self.has_waiting_threads()

    def getconn(self, timeout: float | None = None) -> Connection:
        """Return a connection. Raises PoolTimeout, an OperationalError, if there is none within `timeout` seconds."""
        seconds = self.timeout if timeout is None else timeout
        try:
            connection = self._wait_for_connection(seconds)
        except PoolTimeout:
            reason = ": all connections that this process may open are in use" if self.is_exhausted() else ""
            raise PoolTimeout(f"no connection after {seconds:.2f} sec{reason}") from None
        self.served_at = time.monotonic()
        return connection

    def _wait_for_connection(self, timeout: float) -> Connection:
        """Ask the pool several times, so that another one can make way although it could not at first."""
        for seconds in (FIRST_WAIT_SECONDS, SECOND_WAIT_SECONDS):
            if timeout <= seconds:
                break
            with suppress(PoolTimeout):
                return super().getconn(seconds)
            timeout -= seconds
        return super().getconn(timeout)

    def is_served_often(self) -> bool:
        """Return whether threads that wait are likely to get one of the pool's own connections soon."""
        return self._nconns > 0 and self.served_at > time.monotonic() - FIRST_WAIT_SECONDS

    def close_idle(self, count: int) -> None:
        """Close idle connections. Needs the lock."""
        for _ in range(count):
            self._nconns -= 1
            self._close_connection(self._pool.popleft())
        self._nconns_min = min(self._nconns_min, len(self._pool))

    def close(self, timeout: float = 5.0) -> None:
        super().close(timeout)
        self.budget.pools.pop(self.name, None)
        self.budget.ending.wait()

    def _configure_or_close(self, connection: Connection) -> None:
        try:
            self.configure_connection(connection)
        except BaseException:
            self._close_connection(connection)  # psycopg would leave this to the garbage collector
            raise

    def _connect(self, timeout: float | None = None) -> Connection:
        self.budget.ending.wait()
        return super()._connect(timeout)

    def _close_connection(self, conn: Connection) -> None:
        conn._pool = None
        self.budget.ending.close(conn)

    def _maybe_grow_pool(self) -> None:
        if not self._growing and self._nconns < self.max_connections and not self.is_served_often():
            self.budget.make_way()
        super()._maybe_grow_pool()

    def _add_to_pool(self, conn: Connection) -> None:
        if not (self._waiting and self._close_for_starving_pool(conn)):
            super()._add_to_pool(conn)
            self.budget.serve_waiting_threads()

    def _close_for_starving_pool(self, conn: Connection) -> bool:
        with self._lock:
            if starving := self.budget.find_starving_pool(self):
                self._nconns -= 1
                self._close_connection(conn)
                starving._maybe_grow_pool()
            return starving is not None

    def _add_connection(self, *arguments: Any, **options: Any) -> None:
        super()._add_connection(*arguments, **options)
        self.budget.serve_waiting_threads()  # it may have failed

    def _shrink_pool(self) -> None:
        """Close all connections that were idle since the last time. psycopg closes one of them."""
        with self._lock:
            self.close_idle(min(self._nconns_min, len(self._pool)))
            self._nconns_min = len(self._pool)
        self.budget.ending.wait()


_budgets: dict[tuple[str, str], ConnectionBudget] = {}


def get_budget(host: str, port: str) -> ConnectionBudget:
    """Return the budget of the server at an address."""
    budget = ConnectionBudget(settings.CONNECTIONS.connections - PROBE_CONNECTIONS)
    return _budgets.setdefault((host, port or str(DEFAULT_PORT)), budget)


def are_connections_scarce() -> bool:
    """Return whether a thread that needs a connection waits for another one: an idle thread then returns its own."""
    return any(budget.is_exhausted() for budget in tuple(_budgets.values()))
