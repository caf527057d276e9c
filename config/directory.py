"""The directory: which contexts' databases have moved and where they are. `shop.postgres.moves` reads it.

And how a database comes to be, with a role of its own that has no rights elsewhere.
"""

import json
from typing import Any

import psycopg
from django.conf import settings
from psycopg import sql

from shop.postgres.moves import Place, parameters

TABLES = """
CREATE TABLE IF NOT EXISTS binding (
    context text PRIMARY KEY, epoch integer NOT NULL, host text NOT NULL, port text NOT NULL, dbname text NOT NULL,
    "user" text NOT NULL, moving boolean NOT NULL DEFAULT false, changed_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE IF NOT EXISTS move (
    context text PRIMARY KEY, source jsonb NOT NULL, target jsonb NOT NULL, step text NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now())"""


def administrator(server: dict[str, Any], dbname: str = "") -> psycopg.Connection:
    """A connection as who the address names, to the database that it names unless another one is wanted."""
    return psycopg.connect(**parameters(server, dbname or server["NAME"] or "postgres"), autocommit=True, connect_timeout=5)


def encrypted(connection: psycopg.Connection, role: str, password: str) -> sql.Literal:
    """A password as the server keeps it, so that none stands in a statement that it may log."""
    return sql.Literal(connection.pgconn.encrypt_password(password.encode(), role.encode()).decode())


def create(connection: psycopg.Connection, database: str, role: str, password: str) -> bool:
    """A database and the role that owns it, or bring them up to date. Whether the database is new."""
    names = {"database": sql.Identifier(database), "role": sql.Identifier(role)}
    names["password"] = encrypted(connection, role, password)  # type: ignore[assignment]
    exists = "SELECT 1 FROM pg_roles WHERE rolname = %s"
    verb = "ALTER" if connection.execute(exists, [role]).fetchone() else "CREATE"
    connection.execute(sql.SQL(f"{verb} ROLE {{role}} LOGIN PASSWORD {{password}}").format(**names))
    is_new = not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database]).fetchone()
    if is_new:
        connection.execute(sql.SQL("CREATE DATABASE {database} OWNER {role}").format(**names))
    connection.execute(sql.SQL("REVOKE ALL ON DATABASE {database} FROM PUBLIC").format(**names))
    return is_new


def by_settings(context: str) -> Place:
    """Where a context's database is, unless it has moved."""
    said = settings.DATABASES[context]
    return Place(1, said["HOST"], str(said["PORT"] or ""), said["NAME"], said["USER"])


def make() -> bool:
    """The directory's database: its owner writes it, and a role reads it. Idempotent; whether it is new."""
    own = settings.DIRECTORY
    names = {"name": sql.Identifier(own["NAME"]), "reader": sql.Identifier(own["USER"])}
    with administrator(settings.DATABASE_SERVER) as connection:
        is_new = create(connection, own["NAME"], own["USER"], own["PASSWORD"])
        for change in ("ALTER DATABASE {name} OWNER TO CURRENT_USER", "GRANT CONNECT ON DATABASE {name} TO {reader}"):
            connection.execute(sql.SQL(change).format(**names))
    with administrator(settings.DATABASE_SERVER, own["NAME"]) as connection:
        connection.execute(TABLES)
        connection.execute(sql.SQL("GRANT SELECT ON binding TO {reader}").format(**names))
    return is_new


class Directory:
    """The directory as its owner has it, to read and write. Made by `manage.py databases`."""

    def __init__(self) -> None:
        self.connection = administrator(settings.DATABASE_SERVER, settings.DIRECTORY["NAME"])

    def mine_alone(self, context: str) -> bool:
        """Whether nobody else moves the context; for as long as this connection lives, which is also what writes the record."""
        return bool(self._one("SELECT 1 WHERE pg_try_advisory_lock(hashtext('peel ' || %s))", context))

    def place(self, context: str) -> Place:
        """Where a context's database is, by the record; else by the settings."""
        row = self._one('SELECT epoch, host, port, dbname, "user", moving FROM binding WHERE context = %s', context)
        return Place(*row) if row else by_settings(context)

    def put(self, context: str, place: Place) -> None:
        """From now on, whoever is refused somewhere else is told this place."""
        self.connection.execute(
            """INSERT INTO binding (context, epoch, host, port, dbname, "user", moving) VALUES (%s, %s, %s, %s, %s, %s, %s)
               ON CONFLICT (context) DO UPDATE SET epoch = excluded.epoch, host = excluded.host, port = excluded.port,
                   dbname = excluded.dbname, "user" = excluded."user", moving = excluded.moving, changed_at = now()
               WHERE binding.epoch <= excluded.epoch""",
            [context, *place],
        )

    def move(self, context: str) -> tuple[Place, Place, str] | None:
        """The move of a context that was begun: from where, where to, and the last step that was done."""
        row = self._one("SELECT source, target, step FROM move WHERE context = %s", context)
        return (Place(**row[0]), Place(**row[1]), row[2]) if row else None

    def record(self, context: str, source: Place, target: Place, step: str) -> None:
        self.connection.execute(
            """INSERT INTO move (context, source, target, step) VALUES (%s, %s, %s, %s)
               ON CONFLICT (context) DO UPDATE SET source = excluded.source, target = excluded.target,
                   step = excluded.step, changed_at = now()""",
            [context, json.dumps(source._asdict()), json.dumps(target._asdict()), step],
        )

    def forget(self, context: str) -> None:
        """The move is over."""
        self.connection.execute("DELETE FROM move WHERE context = %s", [context])

    def _one(self, statement: str, context: str) -> tuple | None:
        return self.connection.execute(statement, [context]).fetchone()
