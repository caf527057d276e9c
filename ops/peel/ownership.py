"""Own a context's database and its audit table with a role that cannot log in. See ADR 24.

The role of the context creates and owns all other tables, but can only read audit rows and append to them.
"""

from collections.abc import Iterable

import psycopg
from django.conf import settings
from psycopg import sql

from shop.db.postgres.audit_privileges import AUDIT_TABLE

LOCK_TIMEOUT = "5s"  # a change of the table's owner waits no longer for its readers, and writers no longer behind it
SET_BY_THE_DATABASE = ("id", "at")  # columns of the audit table that the role of the context cannot write

# A new owner takes over the privileges that were granted to the former one: so these are granted last.
_DATABASE_SQL = """
ALTER SCHEMA public OWNER TO pg_database_owner;
ALTER DATABASE {database} OWNER TO {owner};
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO {role};
GRANT CONNECT, CREATE, TEMPORARY ON DATABASE {database} TO {role}"""
_TABLE_SQL = """
REVOKE ALL ON public.{table} FROM PUBLIC, {role};
GRANT SELECT, INSERT ({columns}) ON public.{table} TO {role}"""

_GRANTORS_SQL = """
SELECT pg_get_userbyid(grantor)::text FROM pg_auth_members
WHERE pg_get_userbyid(roleid) = %s AND pg_get_userbyid(member) = %s"""


def name_owner() -> str:
    """Return the name of the role that owns the databases of the shop and their audit tables."""
    return f"{settings.DATABASE_PREFIX}_owner"


def create_owner(connection: psycopg.Connection, role: str) -> None:
    """Create the owner unless it exists. An administrator who is no superuser becomes a member of both roles."""
    names = {"owner": sql.Identifier(name_owner()), "role": sql.Identifier(role)}
    if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name_owner()]).fetchone():
        connection.execute(sql.SQL("CREATE ROLE {owner} NOLOGIN").format(**names))
    if connection.info.parameter_status("is_superuser") != "on":
        connection.execute(sql.SQL("GRANT {owner}, {role} TO CURRENT_USER").format(**names))


def limit_role(connection: psycopg.Connection, database: str, role: str, *, unlock_audit_table: bool = False) -> None:
    """Take the ownership of a database and of its audit table from the role of its context. Idempotent.

    connection: of an administrator, to this database. unlock_audit_table: let the role change the table until the next call.
    """
    names = {"database": sql.Identifier(database), "role": sql.Identifier(role), "owner": sql.Identifier(name_owner())}
    with connection.transaction():
        # Nothing that the role may have created stands in for a function of PostgreSQL.
        connection.execute(f"SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('limit_role'))")
        connection.execute(sql.SQL(_DATABASE_SQL).format(**names))
        columns = _list_columns(connection)
        if columns:
            _take_audit_table(connection, columns, names)
        _end_membership(connection, role, names)
        if unlock_audit_table:
            connection.execute(sql.SQL("GRANT {owner} TO {role}").format(**names))


def _end_membership(connection: psycopg.Connection, role: str, names: dict[str, sql.Identifier]) -> None:
    grantors = connection.execute(_GRANTORS_SQL, [name_owner(), role]).fetchall()
    for (grantor,) in grantors:
        revoke = sql.SQL("REVOKE {owner} FROM {role} GRANTED BY {grantor} CASCADE")
        connection.execute(revoke.format(grantor=sql.Identifier(grantor), **names))


def _list_columns(connection: psycopg.Connection) -> list[str]:
    """List the columns of the audit table; none if there is no such table yet."""
    found = connection.execute(
        "SELECT attname::text FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped",
        [f"public.{AUDIT_TABLE}"],
    )
    return [column for (column,) in found]


def _take_audit_table(connection: psycopg.Connection, columns: Iterable[str], names: dict[str, sql.Identifier]) -> None:
    is_taken = "SELECT 1 FROM pg_tables WHERE schemaname = 'public' AND tablename = %s AND tableowner = %s"
    names = names | {"table": sql.Identifier(AUDIT_TABLE)}
    if not connection.execute(is_taken, [AUDIT_TABLE, name_owner()]).fetchone():
        connection.execute(sql.SQL("ALTER TABLE public.{table} OWNER TO {owner}").format(**names))
    written = sql.SQL(", ").join(sql.Identifier(column) for column in columns if column not in SET_BY_THE_DATABASE)
    connection.execute(sql.SQL(_TABLE_SQL).format(columns=written, **names))
