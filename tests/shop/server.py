"""The database server as its operator sees it, past the application and its guards."""

from typing import Any

import psycopg
from django.conf import settings
from django.db import connections


def session(database: str, *, autocommit: bool = False) -> psycopg.Connection:
    """A session of the server's superuser: a block that is one transaction."""
    server = settings.DATABASE_SERVER
    return psycopg.connect(
        host=server["HOST"], port=server["PORT"] or None, user=server["USER"], password=server["PASSWORD"] or None,
        dbname=database, autocommit=autocommit,
    )  # fmt: skip


def superuser(sql: str, parameters: Any = (), database: str = "") -> list[tuple]:
    """Run one statement as the server's superuser."""
    with session(database or "postgres", autocommit=True) as connection:
        cursor = connection.execute(sql, parameters or None)
        return cursor.fetchall() if cursor.description else []


def cut_connection(alias: str) -> None:
    """Terminate the session that this thread has on an alias."""
    connections[alias].ensure_connection()
    superuser("SELECT pg_terminate_backend(%s, 5000)", [connections[alias].connection.info.backend_pid])


def name_of(alias: str) -> str:
    return settings.DATABASES[alias]["NAME"]
