"""Where the databases are that have moved since this process was configured.

A record says it, at an address that does not move: the directory, a database on the server of DATABASE_URL, written by
`manage.py peel`. It is read when a connection is refused, and not before: the fence is in the server, where the role of a
database that has moved may not log in any more. So an old address can be tried without harm, and the environment
has to give the first one only.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import psycopg
import structlog
from django.conf import settings

PATIENCE = 4.0  # seconds that a connection waits for a move to end; a pool's clients wait 5
LOOK = 0.02  # seconds between two looks meanwhile

log = structlog.get_logger(__name__)


class Place(NamedTuple):
    """Where a context's database is. The password stays the same wherever it is."""

    epoch: int
    host: str
    port: str
    dbname: str
    user: str
    moving: bool = False  # whoever is refused now will be told another place in a moment

    def parameters(self) -> dict[str, str]:
        return {"host": self.host, "port": self.port, "dbname": self.dbname, "user": self.user}


_found: dict[str, Place] = {}  # by context, where what the settings say was refused


def connect(context: str, open_: Callable[..., Any], given: dict[str, Any]) -> Any:
    """`open_` a connection to the context's database, wherever it is now. Raises psycopg.OperationalError."""
    deadline = time.monotonic() + PATIENCE
    while True:
        place = _found.get(context)
        try:
            return open_(**given | (place.parameters() if place else {}))
        except psycopg.OperationalError:
            now = look_up(context)
            if now is None or time.monotonic() > deadline:
                raise
            if not (place and place.epoch == now.epoch):
                _found[context] = now
                if given | now.parameters() != given:
                    log.info("database_moved", context=context, epoch=now.epoch, host=now.host, database=now.dbname)
            elif now.moving:
                time.sleep(LOOK)
            else:
                _found.pop(context, None)  # both are refused: the next try begins with the settings
                raise


def parameters(server: dict[str, Any], dbname: str) -> dict[str, Any]:
    """How a database of a server of the settings is reached."""
    given = {name.lower(): server[name] for name in ("HOST", "PORT", "USER", "PASSWORD")}
    return {**{name: value for name, value in given.items() if value}, "dbname": dbname, **server.get("OPTIONS", {})}


def look_up(context: str) -> Place | None:
    """What the directory says; nothing of a context that has never moved, or where there is no directory."""
    directory = settings.DIRECTORY
    try:
        with psycopg.connect(**parameters(directory, directory["NAME"]), connect_timeout=1) as connection:
            row = connection.execute(
                'SELECT epoch, host, port, dbname, "user", moving FROM binding WHERE context = %s', [context]
            ).fetchone()
    except psycopg.Error as error:
        log.warning("directory_unavailable", context=context, error=str(error))
        return None
    return Place(*row) if row else None
