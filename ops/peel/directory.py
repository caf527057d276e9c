"""Keep the directory of the databases that have moved. `shop.db.postgres.locations` reads it.

Also create databases, each with a role that has no rights elsewhere.
"""

import json
from contextlib import suppress
from typing import Any, NamedTuple

import psycopg
import structlog
from django.conf import settings
from psycopg import sql

from ops.peel.ownership import create_owner, name_owner
from shop.db.postgres.locations import DatabaseLocation, build_connection_parameters
from shop.db.postgres.log_settings import (
    DATABASE_LOG_SETTINGS,
    READ_LOG_SETTINGS_SQL,
    ROLE_LOG_SETTINGS,
    build_log_statements,
)

log = structlog.get_logger(__name__)

SCHEMA_SQL = """
CREATE TABLE IF NOT EXISTS binding (
    context text PRIMARY KEY, epoch integer NOT NULL, host text NOT NULL, port text NOT NULL, dbname text NOT NULL,
    "user" text NOT NULL, moving boolean NOT NULL DEFAULT false, changed_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE IF NOT EXISTS move (
    context text PRIMARY KEY, source jsonb NOT NULL, target jsonb NOT NULL, step text NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now())"""

_STORED_SETTINGS_SQL = """
SELECT unnest(setconfig) FROM pg_db_role_setting
WHERE setdatabase = coalesce((SELECT oid FROM pg_database WHERE datname = %(database)s), 0)
  AND setrole = coalesce((SELECT oid FROM pg_roles WHERE rolname = %(role)s), 0)"""

# A parsed database URL with an administrator's role, in the format of settings.DATABASES.
ServerSettings = dict[str, Any]


class UnfinishedMove(NamedTuple):
    """A move that has begun, and the last step that was done."""

    source: DatabaseLocation
    target: DatabaseLocation
    step: str


def connect_as_administrator(server: ServerSettings, dbname: str = "") -> psycopg.Connection:
    """Connect with the role of the server's URL, to `dbname` or else the database of the URL.

    The server does not log the statements of the session, which contain hashes of passwords, if the role may set that.
    """
    connection = psycopg.connect(
        **build_connection_parameters(server, dbname or server["NAME"] or "postgres"),
        autocommit=True,
        connect_timeout=5,
    )
    with suppress(psycopg.errors.InsufficientPrivilege):
        changes = [f"SET {name} = '{value}'" for name, value in DATABASE_LOG_SETTINGS.items() if "." not in name]
        connection.execute("; ".join(changes).encode())
    return connection


def encrypt_password(connection: psycopg.Connection, role: str, password: str) -> sql.Literal:
    """Encrypt a password on the client, so that statements which the server may log do not contain it."""
    return sql.Literal(connection.pgconn.encrypt_password(password.encode(), role.encode()).decode())


def create_database(connection: psycopg.Connection, database: str, role: str, password: str) -> bool:
    """Create or update a database and the role of its context. Returns whether the database is new.

    `limit_role` gives the role its rights in the database, which belongs to another role (ops/peel/ownership.py).
    """
    names = {"database": sql.Identifier(database), "role": sql.Identifier(role), "owner": sql.Identifier(name_owner())}
    secret = encrypt_password(connection, role, password)
    exists = "SELECT 1 FROM pg_roles WHERE rolname = %s"
    verb = "ALTER" if connection.execute(exists, [role]).fetchone() else "CREATE"
    connection.execute(sql.SQL(f"{verb} ROLE {{role}} LOGIN PASSWORD {{password}}").format(password=secret, **names))
    create_owner(connection, role)
    is_new = not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database]).fetchone()
    if is_new:
        connection.execute(sql.SQL("CREATE DATABASE {database} OWNER {owner}").format(**names))
    connection.execute(sql.SQL("REVOKE ALL ON DATABASE {database} FROM PUBLIC").format(**names))
    keep_statements_out_of_log(connection, database, role)
    return is_new


def keep_statements_out_of_log(connection: psycopg.Connection, database: str, role: str) -> None:
    """Set for a database and its role that the server does not log statements and values (docs/deploy.md). Idempotent.

    A managed server may deny it to its administrator; then the processes of the shop say at start what is missing.
    """
    loaded = {name for name, _ in connection.execute(READ_LOG_SETTINGS_SQL, [list(ROLE_LOG_SETTINGS)])}
    try:
        for kind, name, wanted in (("DATABASE", database, DATABASE_LOG_SETTINGS), ("ROLE", role, ROLE_LOG_SETTINGS)):
            names = {"database": name, "role": None} if kind == "DATABASE" else {"database": None, "role": name}
            stored = {entry for (entry,) in connection.execute(_STORED_SETTINGS_SQL, names)}
            missing = {key: wanted[key] for key in wanted if key in loaded and f"{key}={wanted[key]}" not in stored}
            if missing:
                owner = sql.SQL(f"{kind} {{}}").format(sql.Identifier(name)).as_string(connection)
                connection.execute(build_log_statements(owner, missing).encode())
    except psycopg.errors.InsufficientPrivilege as error:
        log.warning("log_settings_not_set", database=database, role=role, reason=error.diag.message_primary)


def get_configured_location(context: str) -> DatabaseLocation:
    """Return the location of a context's database in the settings, which is outdated if the database has moved."""
    database = settings.DATABASES[context]
    return DatabaseLocation(1, database["HOST"], str(database["PORT"] or ""), database["NAME"], database["USER"])


def create_directory() -> bool:
    """Create or update the database of the directory, with a read-only role. Returns whether it is new."""
    directory = settings.DIRECTORY
    names = {"name": sql.Identifier(directory["NAME"]), "reader": sql.Identifier(directory["USER"])}
    with connect_as_administrator(settings.DATABASE_SERVER) as connection:
        is_new = create_database(connection, directory["NAME"], directory["USER"], directory["PASSWORD"])
        for change in ("ALTER DATABASE {name} OWNER TO CURRENT_USER", "GRANT CONNECT ON DATABASE {name} TO {reader}"):
            connection.execute(sql.SQL(change).format(**names))
    with connect_as_administrator(settings.DATABASE_SERVER, directory["NAME"]) as connection:
        connection.execute(SCHEMA_SQL)
        connection.execute(sql.SQL("GRANT SELECT ON binding TO {reader}").format(**names))
    return is_new


class Directory:
    """Read and write the directory as its owner. `manage.py databases` creates it."""

    def __init__(self) -> None:
        self.connection = connect_as_administrator(settings.DATABASE_SERVER, settings.DIRECTORY["NAME"])

    def try_lock(self, context: str) -> bool:
        """Try to acquire the advisory lock for moving a context. Held until the connection closes.

        Returns whether it is held now. The same connection writes the directory, so that a lost lock ends the move.
        """
        return bool(self._fetch_one("SELECT 1 WHERE pg_try_advisory_lock(hashtext('peel ' || %s))", context))

    def get_location(self, context: str) -> DatabaseLocation:
        """Return the location of a context's database, from the directory or else from the settings."""
        row = self._fetch_one(
            'SELECT epoch, host, port, dbname, "user", moving FROM binding WHERE context = %s', context
        )
        return DatabaseLocation(*row) if row else get_configured_location(context)

    def save_location(self, context: str, location: DatabaseLocation) -> None:
        """Record the location of a context's database, for processes that other locations refuse. Ignores an older epoch."""
        self.connection.execute(
            """INSERT INTO binding (context, epoch, host, port, dbname, "user", moving) VALUES (%s, %s, %s, %s, %s, %s, %s)
               ON CONFLICT (context) DO UPDATE SET epoch = excluded.epoch, host = excluded.host, port = excluded.port,
                   dbname = excluded.dbname, "user" = excluded."user", moving = excluded.moving, changed_at = now()
               WHERE binding.epoch <= excluded.epoch""",
            [context, *location],
        )

    def get_move(self, context: str) -> UnfinishedMove | None:
        """Return the unfinished move of a context, if there is one."""
        row = self._fetch_one("SELECT source, target, step FROM move WHERE context = %s", context)
        return UnfinishedMove(DatabaseLocation(**row[0]), DatabaseLocation(**row[1]), row[2]) if row else None

    def save_move(self, context: str, move: UnfinishedMove) -> None:
        self.connection.execute(
            """INSERT INTO move (context, source, target, step) VALUES (%s, %s, %s, %s)
               ON CONFLICT (context) DO UPDATE SET source = excluded.source, target = excluded.target,
                   step = excluded.step, changed_at = now()""",
            [context, json.dumps(move.source._asdict()), json.dumps(move.target._asdict()), move.step],
        )

    def delete_move(self, context: str) -> None:
        """Delete the move of a context after it has finished or was rolled back."""
        self.connection.execute("DELETE FROM move WHERE context = %s", [context])

    def _fetch_one(self, statement: str, context: str) -> psycopg.rows.TupleRow | None:
        return self.connection.execute(statement, [context]).fetchone()
