"""Look at the database of an alias on a session of its own: which one it is, what its server logs, what its role may do."""

from contextlib import closing, suppress
from typing import NamedTuple, cast

import psycopg
from django.db import connections

from shop.db.postgres.audit_privileges import READ_AUDIT_PRIVILEGES_SQL
from shop.db.postgres.base import DatabaseWrapper
from shop.db.postgres.cursor import Connection
from shop.db.postgres.log_settings import READ_LOG_SETTINGS_SQL, ROLE_LOG_SETTINGS, find_exposing_settings
from shop.db.postgres.sessions import SessionRefused

DatabaseIdentity = tuple[str, str]  # identifier of the server, name of the database


class LogExposure(NamedTuple):
    """Settings that let statements into the log of a server: for which role, and the values that it needs."""

    owner: str  # as SQL: ROLE "name"
    wanted: dict[str, str]


def identify_database(alias: str) -> DatabaseIdentity | SessionRefused | None:
    """Return which database an alias is on, or why its connections cannot be used; None if it cannot be reached."""
    with suppress(psycopg.OperationalError):
        try:
            with closing(open_session(alias)) as session:
                sql = "SELECT system_identifier::text, current_database() FROM pg_control_system()"
                identities: list[DatabaseIdentity] = psycopg.ClientCursor(session).execute(sql).fetchall()
                return identities[0]
        except SessionRefused as refusal:
            return refusal
    return None


def find_log_exposure(alias: str) -> LogExposure | None:
    """Return which settings let personal data into the log of the server; None if none does, or it cannot be reached."""
    with suppress(psycopg.OperationalError), closing(open_session(alias)) as session:
        cursor = psycopg.ClientCursor(session).execute(READ_LOG_SETTINGS_SQL, [list(ROLE_LOG_SETTINGS)])
        if wanted := find_exposing_settings(cursor.fetchall()):
            return LogExposure(f'ROLE "{session.info.user}"', wanted)
    return None


def find_audit_privileges(alias: str) -> list[str]:
    """Return what lets the role of an alias change or remove audit rows; nothing if the database cannot be reached."""
    with suppress(psycopg.OperationalError), closing(open_session(alias)) as session:
        return [privilege for (privilege,) in psycopg.ClientCursor(session).execute(READ_AUDIT_PRIVILEGES_SQL)]
    return []


def open_session(alias: str) -> Connection:
    return cast(DatabaseWrapper, connections.create_connection(alias)).open_session()
