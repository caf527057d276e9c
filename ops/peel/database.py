"""Administer one database of a context: fence it off from its processes, and read or prepare its contents."""

import time

import psycopg
from psycopg import sql

from ops.peel.directory import ServerSettings, connect_as_administrator, encrypt_password
from ops.peel.ownership import limit_role
from shop.db.postgres.locations import DatabaseLocation, build_connection_parameters

MARKS_SCHEMA = "satsuma_peel"  # schema of the rows that show how far replication has come; the context does not use it
TRANSACTION_GRACE_SECONDS = 0.2  # how long sessions may finish their transaction before they are terminated
FENCE_TIMEOUT_SECONDS = 5.0  # after which a fence fails if sessions are still open
POLL_INTERVAL_SECONDS = 0.01

_SESSIONS_SQL = """
FROM pg_stat_activity WHERE usename = %s AND datname = current_database() AND backend_type = 'client backend'"""

IDENTITY_SQL = "SELECT system_identifier::text, current_database()::text FROM pg_control_system()"


class SessionsStillOpen(RuntimeError):
    """Sessions of a fenced role did not end in time."""


class Database:
    """A database and its location, with an administrator's connection that is reopened when it is lost."""

    def __init__(self, server: ServerSettings, location: DatabaseLocation) -> None:
        self.server, self.location = server, location
        self._connection: psycopg.Connection | None = None

    @property
    def connection(self) -> psycopg.Connection:
        if self._connection is None or self._connection.closed:
            self._connection = self.open_connection()
        return self._connection

    def open_connection(self) -> psycopg.Connection:
        return connect_as_administrator(self.server, self.location.dbname)

    def rows(self, statement: str, *parameters: object) -> list[psycopg.rows.TupleRow]:
        """Execute a query and return its rows."""
        return self.connection.execute(statement, parameters or None).fetchall()

    def execute(self, statement: str, *parameters: object, **names: str) -> None:
        """Execute a statement; `{name}` stands for an identifier."""
        composed = sql.SQL(statement).format(**{key: sql.Identifier(name) for key, name in names.items()})
        self.connection.execute(composed, parameters or None)

    def has_rows(self, statement: str, *parameters: object) -> bool:
        return bool(self.rows(f"SELECT EXISTS ({statement})", *parameters)[0][0])

    def build_conninfo(self) -> str:
        """Build the connection string with which replication from another server connects to this database.

        It contains the password that this process has used, since the other server has not its password file.
        """
        parameters = build_connection_parameters(self.server, self.location.dbname)
        parameters.pop("passfile", None)
        return psycopg.conninfo.make_conninfo(**parameters | {"password": self.connection.info.password or None})

    # --- Access

    def fence(self) -> None:
        """Lock the context out of this database: no new session is admitted, and the open ones are terminated.

        Sessions in a transaction get a moment to finish it. Sessions that are just connecting are waited for, since the
        server may have checked their role before it was locked. Raises SessionsStillOpen.
        """
        self.execute("ALTER ROLE {role} NOLOGIN", role=self.location.user)
        started_at, starting = time.monotonic(), self._find_starting_sessions()
        while True:
            elapsed = time.monotonic() - started_at
            if elapsed > FENCE_TIMEOUT_SECONDS:
                raise SessionsStillOpen(
                    f"Sessions of {self.location.user} on {self.location.dbname} did not end within {FENCE_TIMEOUT_SECONDS:g} s"
                )
            starting &= self._find_starting_sessions()
            is_empty = not self.has_rows(f"SELECT 1 {_SESSIONS_SQL}", self.location.user)
            if is_empty and not starting:
                return
            condition = "AND state = 'idle'" if elapsed < TRANSACTION_GRACE_SECONDS else ""
            self.rows(f"SELECT pg_terminate_backend(pid) {_SESSIONS_SQL} {condition}", self.location.user)
            if elapsed > TRANSACTION_GRACE_SECONDS:
                self.rows("SELECT pg_terminate_backend(pid) FROM unnest(%s::int[]) AS pid", list(starting))
            time.sleep(POLL_INTERVAL_SECONDS)

    def _find_starting_sessions(self) -> set[int]:
        """Find the process ids of connecting sessions, of any role, since their role is not known yet."""
        found = self.rows(
            """SELECT pid FROM pg_locks LEFT JOIN pg_stat_activity USING (pid) WHERE locktype = 'virtualxid'
               AND usename IS NULL AND coalesce(backend_type, 'client backend') = 'client backend'"""
        )
        return {pid for (pid,) in found}

    def open(self) -> None:
        """Let the context connect again."""
        self.execute("ALTER ROLE {role} LOGIN", role=self.location.user)

    def set_password(self, password: str) -> None:
        role, secret = (
            sql.Identifier(self.location.user),
            encrypt_password(self.connection, self.location.user, password),
        )
        self.connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(role, secret))

    # --- Contents

    def list_tables(self) -> list[str]:
        """List the tables that are replicated, by name; `django_migrations` is not, since each side migrates itself."""
        found = self.rows("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename")
        return [table for (table,) in found if table != "django_migrations"]

    def list_migrations(self) -> list[psycopg.rows.TupleRow]:
        """List the applied migrations, which have to be equal on both sides: replication transfers rows, not tables."""
        return self.rows("SELECT app::text, name::text FROM django_migrations ORDER BY app, name")

    def read_identity(self) -> list[psycopg.rows.TupleRow]:
        """Read the identifier of the server and the name of the database, whatever address was used."""
        return self.rows(IDENTITY_SQL)

    def read_sequences(self) -> dict[str, int]:
        """Read the last value of each sequence."""
        return dict(
            self.rows(
                """SELECT sequencename::text, last_value FROM pg_sequences
                   WHERE schemaname = 'public' AND last_value IS NOT NULL"""
            )
        )

    def advance_sequences(self, sequences: dict[str, int]) -> None:
        """Set the sequences to the values of the other side: replication transfers rows, not sequences."""
        for name, last in sequences.items():
            self.rows("SELECT setval(quote_ident(%s)::regclass, %s)", name, last)

    def create_marks_table(self) -> None:
        self.execute(f"CREATE SCHEMA IF NOT EXISTS {MARKS_SCHEMA}")
        self.execute(f"CREATE TABLE IF NOT EXISTS {MARKS_SCHEMA}.mark (stream text PRIMARY KEY, mark uuid NOT NULL)")

    def drop_marks_table(self) -> None:
        self.execute(f"DROP SCHEMA IF EXISTS {MARKS_SCHEMA} CASCADE")

    def recreate_schema(self) -> None:
        """Drop everything that an interrupted step has left."""
        self.execute("DROP SCHEMA public CASCADE")
        self.execute("CREATE SCHEMA public")
        self.limit_role()

    def limit_role(self) -> None:
        """Let the context own its tables, but neither the database nor its audit table."""
        limit_role(self.connection, self.location.dbname, self.location.user)

    def clear(self) -> None:
        """Empty all tables before the copy; with triggers off, since one of them protects the ledger from deletion."""
        self.drop_marks_table()
        names = sql.SQL(", ").join(map(sql.Identifier, self.list_tables()))
        with self.connection.transaction():
            self.execute("SET LOCAL session_replication_role = replica")
            self.connection.execute(sql.SQL("TRUNCATE {}").format(names))
