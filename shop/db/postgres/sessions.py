"""Session settings: the time limits and planner options of every connection, set after it is opened, and verified.

They are no startup parameters, because a connection pooler refuses those (pgbouncer), or drops them
(`ignore_startup_parameters`), and then nothing would limit how long a session blocks others.

A pooler has to work in session mode. One that gives a server session to another client after each transaction would give
away its settings, prepared statements and advisory locks. Such a connection is refused.
"""

import select
from collections.abc import Mapping
from typing import Any

import psycopg
import structlog
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn, PGresult

from shop.db.postgres.circuits import open_limited_connection

PROBE_TIMEOUT_SECONDS = 3.0
PROBE_ROUNDS = 3  # a pooler that hands its server sessions out in turn is found by asking one connection repeatedly

log = structlog.get_logger(__name__)
_verified: set[tuple[str, ...]] = set()  # addresses whose pooler works in session mode


class SessionRefused(psycopg.OperationalError):
    """The connection cannot be used, because its session is not its own or does not keep its settings."""


def configure_session(connection: psycopg.Connection[Any], session: Mapping[str, str]) -> None:
    """Set the session settings of a new connection. Raises SessionRefused if they do not hold."""
    calls = ", ".join(["set_config(%s, %s, false)"] * len(session))
    cursor = psycopg.ClientCursor(connection)
    cursor.execute(f"SELECT {calls}", [part for setting in session.items() for part in setting])
    values = ", ".join(["current_setting(%s)"] * len(session))
    [[pid, *found]] = cursor.execute(f"SELECT pg_backend_pid(), {values}", list(session)).fetchall()
    try:
        if found != list(session.values()):
            raise SessionRefused(f"the settings of a session do not hold: {dict(zip(session, found, strict=False))}")
        if pid != connection.info.backend_pid and connection.autocommit:
            _verify_pooler(connection)
    except SessionRefused as refusal:
        log.error("database_session_refused", host=connection.info.host, reason=str(refusal))
        raise


def _verify_pooler(connection: psycopg.Connection[Any]) -> None:
    """Raise SessionRefused unless the pooler that answered keeps one server session for each connection."""
    address = (connection.info.host, str(connection.info.port), connection.info.dbname, connection.info.user)
    if address in _verified:
        return
    parameters = {**connection.info.get_parameters(), "password": connection.info.password}
    with open_limited_connection(**parameters, seconds=3) as other:
        if _share_sessions(connection, other):
            raise SessionRefused(
                "a connection pooler is in between and does not work in session mode: set pool_mode = session for this "
                "database (docs/deploy.md)"
            )
    _verified.add(address)


def _share_sessions(connection: psycopg.Connection[Any], other: psycopg.Connection[Any]) -> bool:
    """Return whether two open connections have used the same server session, or one has used several.

    A pooler in session mode that has no server session left lets `other` wait; in the other modes it would be served.
    """
    used = {_fetch_pid(connection) for _ in range(PROBE_ROUNDS)}
    other.pgconn.send_query(b"BEGIN; SELECT pg_backend_pid()")
    results = _receive_results(other.pgconn)
    if results is None:
        other.close()
        return False
    if results[-1].status != ExecStatus.TUPLES_OK:
        raise psycopg.OperationalError(results[-1].error_message.decode(errors="replace"))
    used.add(_fetch_pid(connection))  # while the transaction of the other one holds its server session
    other_pid = int(results[-1].get_value(0, 0) or b"0")
    other.execute("ROLLBACK")
    return len(used) > 1 or other_pid in used


def _receive_results(pgconn: PGconn) -> list[PGresult] | None:
    """Receive all results of a query; None if the server is silent for PROBE_TIMEOUT_SECONDS.

    `get_result` is called only when it has something to return: while it waits, no other thread of the process runs.
    """
    results: list[PGresult] = []
    while True:
        while pgconn.is_busy():
            if not select.select([pgconn.socket], [], [], PROBE_TIMEOUT_SECONDS)[0]:
                return None
            pgconn.consume_input()
        result = pgconn.get_result()
        if result is None:
            return results
        results.append(result)


def _fetch_pid(connection: psycopg.Connection[Any]) -> int:
    [pid] = psycopg.ClientCursor(connection).execute("SELECT pg_backend_pid()").fetchone() or (0,)
    return int(pid)
