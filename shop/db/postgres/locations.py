"""Locations of databases that have moved since this process was configured.

`manage.py peel` moves a database and records its new location in the directory, a database on the server of
DATABASE_URL. A process reads the directory when a connection is refused, and not before. This is safe because the old
server refuses the role of a database that has moved, so nothing can be written at an old location. The environment
names only the first location.

After a change of CREDENTIAL_KEY, the role of a context has its former password until `manage.py databases` sets the new one.
A connection that is refused with the new password is tried with the former ones.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from typing import Any, NamedTuple, TypeVar

import psycopg
import structlog
from django.conf import settings

from shop.db.postgres.circuits import open_limited_connection

MOVE_TIMEOUT_SECONDS = 4.0  # max. wait of a new connection during a move; clients of the pool wait for 5 s
POLL_INTERVAL_SECONDS = 0.02  # between two attempts during a move

C = TypeVar("C")
log = structlog.get_logger(__name__)


class DatabaseLocation(NamedTuple):
    """The location of a context's database. The password is the same at every location."""

    epoch: int
    host: str
    port: str
    dbname: str
    user: str
    moving: bool = False  # the next location is about to be recorded: connections have to wait

    def connection_parameters(self) -> dict[str, str]:
        return {"host": self.host, "port": self.port, "dbname": self.dbname, "user": self.user}


_locations: dict[str, DatabaseLocation] = {}  # by context, of databases that were refused at the configured location


def connect(context: str, open_connection: Callable[..., C], parameters: dict[str, Any]) -> C:
    """Open a connection to a context's database at its current location.

    `parameters` are the configured ones. A refused connection is tried again where the directory locates the database,
    for up to MOVE_TIMEOUT_SECONDS during a move. Raises psycopg.OperationalError.
    """
    deadline = time.monotonic() + MOVE_TIMEOUT_SECONDS
    former_passwords = settings.DATABASES.get(context, {}).get("FORMER_PASSWORDS", ())
    while True:
        known = _locations.get(context)
        try:
            current = parameters | (known.connection_parameters() if known else {})
            return try_passwords(open_connection, current, former_passwords)
        except psycopg.OperationalError:
            recorded = find_location(context)
            if recorded is None or time.monotonic() > deadline:
                raise
            if known is None or known.epoch != recorded.epoch:
                _use_location(context, recorded, parameters)
            elif recorded.moving:
                time.sleep(POLL_INTERVAL_SECONDS)
            else:
                _locations.pop(context, None)  # both locations refuse: the next attempt starts with the configured one
                raise


def try_passwords(open_connection: Callable[..., C], parameters: dict[str, Any], former_passwords: Sequence[str]) -> C:
    """Open a connection with the configured password, or with a former one if the server refuses that.

    Raises the psycopg.OperationalError of the configured one.
    """
    try:
        return open_connection(**parameters)
    except psycopg.OperationalError as refusal:
        if refusal.pgconn and refusal.pgconn.used_password:
            for password in former_passwords:
                with suppress(psycopg.OperationalError):
                    return open_connection(**parameters | {"password": password})
        raise


def _use_location(context: str, location: DatabaseLocation, parameters: dict[str, Any]) -> None:
    _locations[context] = location
    if parameters | location.connection_parameters() != parameters:
        log.info("database_moved", context=context, epoch=location.epoch, host=location.host, database=location.dbname)


def build_connection_parameters(server: dict[str, Any], dbname: str) -> dict[str, Any]:
    """Return psycopg's parameters for a database on a server.

    server: dict in the format of a DATABASES entry.
    """
    parameters = {name.lower(): server[name] for name in ("HOST", "PORT", "USER", "PASSWORD") if server[name]}
    return {**parameters, "dbname": dbname, **server.get("OPTIONS", {})}


def find_location(context: str) -> DatabaseLocation | None:
    """Return the location in the directory, or None if the context has never moved or the directory is unavailable."""
    directory = settings.DIRECTORY
    parameters = build_connection_parameters(directory, directory["NAME"])
    try:
        with ExitStack() as stack:
            connection = try_passwords(
                lambda **login: stack.enter_context(open_limited_connection(**login)),
                parameters,
                directory["FORMER_PASSWORDS"],
            )
            row = connection.execute(
                'SELECT epoch, host, port, dbname, "user", moving FROM binding WHERE context = %s', [context]
            ).fetchone()
    except psycopg.Error as error:
        log.warning("directory_unavailable", context=context, error=str(error))
        return None
    return DatabaseLocation(*row) if row else None
