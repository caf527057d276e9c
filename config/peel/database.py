"""One database of a context, as an administrator sees it: who may log in, what is in it."""

import time
from typing import Any

import psycopg
from psycopg import sql

from config.directory import administrator, encrypted
from shop.postgres.moves import Place, parameters

MARKS = "satsuma_peel"  # schema of the rows that say how far a stream has come; no table of the context's
POLITE = 0.2  # seconds that sessions get to end their transaction before they are ended
GONE = 5.0  # seconds until all of them have to be gone
LOOKS = 0.01  # seconds between two looks

_SESSIONS = """
FROM pg_stat_activity WHERE usename = %s AND datname = current_database() AND backend_type = 'client backend'"""

IDENTITY = "SELECT system_identifier::text, current_database()::text FROM pg_control_system()"


class StillThere(RuntimeError):
    """Sessions of a role do not end."""


class Database:
    """Where it is, and a connection as administrator, which comes back by itself."""

    def __init__(self, server: dict[str, Any], place: Place) -> None:
        self.server, self.place = server, place
        self._connection: psycopg.Connection | None = None

    @property
    def connection(self) -> psycopg.Connection:
        if self._connection is None or self._connection.closed:
            self._connection = self.another_connection()
        return self._connection

    def another_connection(self) -> psycopg.Connection:
        return administrator(self.server, self.place.dbname)

    def rows(self, statement: str, *parameters: Any) -> list[tuple]:
        return self.connection.execute(statement, parameters or None).fetchall()

    def run(self, statement: str, *parameters: Any, **names: str) -> None:
        """One statement; `{name}` stands for an identifier."""
        composed = sql.SQL(statement).format(**{key: sql.Identifier(name) for key, name in names.items()})
        self.connection.execute(composed, parameters or None)

    def has(self, statement: str, *parameters: Any) -> bool:
        return bool(self.rows(f"SELECT EXISTS ({statement})", *parameters)[0][0])

    def conninfo(self) -> str:
        """How another server's replication gets here."""
        return psycopg.conninfo.make_conninfo(**parameters(self.server, self.place.dbname))

    # --- Who may log in

    def fence(self) -> None:
        """Nobody of the context reads or writes here any more: no new session, and the running ones have ended.

        Sessions in the middle of a transaction get a moment to end it. Whoever was just being let in is waited for, since
        it may have been asked for its role before that was shut. Raises StillThere.
        """
        self.run("ALTER ROLE {role} NOLOGIN", role=self.place.user)
        began, entering = time.monotonic(), self._entering()
        while True:
            late = time.monotonic() - began
            if late > GONE:
                raise StillThere(f"Sessions of {self.place.user} on {self.place.dbname} do not end")
            entering &= self._entering()
            is_empty = not self.has(f"SELECT 1 {_SESSIONS}", self.place.user)
            if is_empty and not entering:
                return
            which = "AND state = 'idle'" if late < POLITE else ""
            self.rows(f"SELECT pg_terminate_backend(pid) {_SESSIONS} {which}", self.place.user)
            if late > POLITE:
                self.rows("SELECT pg_terminate_backend(pid) FROM unnest(%s::int[]) AS pid", list(entering))
            time.sleep(LOOKS)

    def _entering(self) -> set[int]:
        """Processes of sessions, of anybody's, whose role is not known yet."""
        found = self.rows(
            """SELECT pid FROM pg_locks LEFT JOIN pg_stat_activity USING (pid) WHERE locktype = 'virtualxid'
               AND usename IS NULL AND coalesce(backend_type, 'client backend') = 'client backend'"""
        )
        return {pid for (pid,) in found}

    def open(self) -> None:
        """The context may log in."""
        self.run("ALTER ROLE {role} LOGIN", role=self.place.user)

    def set_password(self, password: str) -> None:
        role, secret = sql.Identifier(self.place.user), encrypted(self.connection, self.place.user, password)
        self.connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(role, secret))

    # --- What is in it

    def tables(self) -> list[str]:
        """Those whose rows move, in the order of their names: each side has migrated by itself."""
        found = self.rows("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename")
        return [table for (table,) in found if table != "django_migrations"]

    def migrations(self) -> list[tuple]:
        """What its tables have been through: replication carries rows, not tables."""
        return self.rows("SELECT app::text, name::text FROM django_migrations ORDER BY app, name")

    def identity(self) -> list[tuple]:
        """Which database of which server it really is."""
        return self.rows(IDENTITY)

    def sequences(self) -> dict[str, int]:
        """The last number that each has given."""
        return dict(
            self.rows(
                """SELECT sequencename::text, last_value FROM pg_sequences
                   WHERE schemaname = 'public' AND last_value IS NOT NULL"""
            )
        )

    def advance(self, sequences: dict[str, int]) -> None:
        """Go on where the other side stopped: replication carries rows, not sequences."""
        for name, last in sequences.items():
            self.rows("SELECT setval(quote_ident(%s)::regclass, %s)", name, last)

    def make_marks(self) -> None:
        self.run(f"CREATE SCHEMA IF NOT EXISTS {MARKS}")
        self.run(f"CREATE TABLE IF NOT EXISTS {MARKS}.mark (stream text PRIMARY KEY, mark uuid NOT NULL)")

    def forget_marks(self) -> None:
        self.run(f"DROP SCHEMA IF EXISTS {MARKS} CASCADE")

    def begin_anew(self) -> None:
        """Nothing is there, whatever a step that was cut off has left."""
        self.run("DROP SCHEMA public CASCADE")
        self.run("CREATE SCHEMA public AUTHORIZATION {role}", role=self.place.user)

    def clear(self) -> None:
        """Empty, as before the rows of the other side come; without the triggers that keep a ledger from being emptied."""
        self.forget_marks()
        names = sql.SQL(", ").join(map(sql.Identifier, self.tables()))
        with self.connection.transaction():
            self.run("SET LOCAL session_replication_role = replica")
            self.connection.execute(sql.SQL("TRUNCATE {}").format(names))
