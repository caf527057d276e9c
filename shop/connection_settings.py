"""Settings of the connections of a process, and what its servers accept of all processes of the shop."""

from typing import NamedTuple

from shop.process_variables import count_server_processes
from shop.settings import env, read_number, read_setting, read_whole_number

COMMAND_CONNECTIONS = 10  # left for migrations, other commands of manage.py, and backups
MIN_CONNECTIONS = 4  # for a request, the lease of its order, a relay or handler, and a probe
WAIT_SECONDS = 5.0  # how long a thread waits for a connection
OTHER_THREADS = 6  # two for timers; leases, probes, counts of calls, e-mails
POOL_SIZE = "Connections of a process to one database, within those to its server."
CONNECTIONS = (
    "Connections of a process to one server, for all its databases there. The default is three for each of WEB_THREADS or "
    "INTERNAL_THREADS (one with a single context), two for each context, and six."
)
PROCESSES = (
    "Processes that connect to the same server: WEB_WORKERS of each container and one more with INTERNAL_PORT, workers and "
    "engines. Nothing starts if it accepts fewer connections than all of them may open. The default is one container."
)
IDLE = "A connection that no thread needed for this long is closed, after twice this time at the latest."
RELAXED = (
    "Whether follow-up work that is done again after a crash of the database server commits without waiting for its disk. "
    "What customers, providers and mail servers learn always waits."
)
READ_ACCEPTED_SQL = """
SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
    - coalesce(current_setting('reserved_connections', true)::int, 0),
    current_user::text, (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user),
    current_database()::text, (SELECT datconnlimit FROM pg_database WHERE datname = current_database())"""


class AcceptedConnections(NamedTuple):
    """The connections that a server, a role and a database accept. A negative limit of the last two means none."""

    by_server: int
    role: str
    by_role: int
    database: str
    by_database: int


class ConnectionSettings(NamedTuple):
    """The settings that limit connections."""

    pool_size: int  # of a process to one database
    connections: int  # of a process to one server
    processes: int  # that connect to the same server
    idle_seconds: float
    relaxed_commits: bool

    def build_pool_options(self) -> dict[str, float]:
        """Return the options of the pool of one database."""
        sizes = {"min_size": 0, "max_size": self.pool_size, "num_workers": 1}
        return {**sizes, "timeout": WAIT_SECONDS, "max_idle": self.idle_seconds}

    def count_needed(self, most_of_a_process: int = 10_000) -> int:
        """Return how many connections to a server, or to one database, all processes may open, and commands."""
        return self.processes * min(self.connections, most_of_a_process) + COMMAND_CONNECTIONS

    def count_missing(self, accepted: AcceptedConnections) -> int:
        """Return by how many connections the worst of the limits is too small, at least 0."""
        of_one = [limit for limit in (accepted.by_role, accepted.by_database) if limit >= 0]
        missing = [self.count_needed(self.pool_size) - limit for limit in of_one]
        return max(0, self.count_needed() - accepted.by_server, *missing)


def count_held(contexts: int) -> int:
    """Return how many connections a thread keeps while it places an order: to orders, inventory and payments."""
    return min(3, contexts)


def read_connection_settings(*, threads: int, contexts: int) -> ConnectionSettings:
    """Read the settings that limit connections, of a process with `threads` for requests that hosts this many contexts."""
    default = threads * count_held(contexts) + 2 * contexts + OTHER_THREADS
    return ConnectionSettings(
        read_whole_number("DATABASE_POOL_SIZE", 16, most=1_000, description=POOL_SIZE),
        read_whole_number("DATABASE_CONNECTIONS", default, least=MIN_CONNECTIONS, most=10_000, description=CONNECTIONS),
        read_whole_number("DATABASE_PROCESSES", count_server_processes(), most=10_000, description=PROCESSES),
        read_number("DATABASE_IDLE_CONNECTION_SECONDS", 10, least=0.1, most=3600, description=IDLE),
        read_setting("DATABASE_RELAXED_COMMITS", env.bool, True, description=RELAXED),
    )
