"""Which database an alias is on: two aliases may be two names of one database."""

from contextlib import closing, suppress
from typing import cast

import psycopg
from django.db import connections

from shop.db.postgres.base import DatabaseWrapper
from shop.db.postgres.sessions import SessionRefused

DatabaseIdentity = tuple[str, str]  # identifier of the server, name of the database


def identify_database(alias: str) -> DatabaseIdentity | SessionRefused | None:
    """Return which database an alias is on, or why its connections cannot be used; None if it cannot be reached."""
    with suppress(psycopg.OperationalError):
        try:
            with closing(cast(DatabaseWrapper, connections.create_connection(alias)).open_session()) as session:
                sql = "SELECT system_identifier::text, current_database() FROM pg_control_system()"
                identities: list[DatabaseIdentity] = psycopg.ClientCursor(session).execute(sql).fetchall()
                return identities[0]
        except SessionRefused as refusal:
            return refusal
    return None
