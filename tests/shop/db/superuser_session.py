"""Sessions of the database server's superuser, which bypass the application and its guards."""

from typing import Any

import psycopg
from django.conf import settings
from django.db import connections


def open_superuser_session(database: str, *, autocommit: bool = False) -> psycopg.Connection:
    """Open a session of the server's superuser. As a context manager it is one transaction."""
    server = settings.DATABASE_SERVER
    return psycopg.connect(
        host=server["HOST"],
        port=server["PORT"] or None,
        user=server["USER"],
        password=server["PASSWORD"] or None,
        dbname=database,
        autocommit=autocommit,
    )


def execute_as_superuser(sql: str, parameters: Any = (), database: str = "") -> list[tuple]:
    """Run one statement as the server's superuser and return its rows."""
    with open_superuser_session(database or "postgres", autocommit=True) as connection:
        cursor = connection.execute(sql, parameters or None)
        return cursor.fetchall() if cursor.description else []


def terminate_connection(alias: str) -> None:
    """Terminate this thread's session on an alias."""
    connections[alias].ensure_connection()
    execute_as_superuser("SELECT pg_terminate_backend(%s, 5000)", [connections[alias].connection.info.backend_pid])


def database_name(alias: str) -> str:
    return settings.DATABASES[alias]["NAME"]
