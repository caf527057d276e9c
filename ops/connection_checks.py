"""Check that the database servers accept the connections of all processes of the shop, which they would refuse under load."""

from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from typing import Any

import psycopg
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register

from ops.database_checks import look_at_each
from ops.database_sessions import open_session
from shop.connection_settings import (
    COMMAND_CONNECTIONS,
    MIN_CONNECTIONS,
    READ_ACCEPTED_SQL,
    AcceptedConnections,
)
from shop.process_variables import count_server_processes


@register(Tags.database)
def check_connection_budget(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Check that each server, role and database accepts the connections that all processes of the shop may open.

    A database that cannot be reached is left out: /ready reports what is missing.
    """
    servers: dict[str, dict[str, AcceptedConnections]] = {}
    for alias, (address, accepted) in look_at_each(databases, _find_accepted):
        servers.setdefault(address, {})[alias] = accepted
    problems = [
        *(text for address, found in servers.items() for text in _describe_small_server(address, found)),
        *(
            text
            for found in servers.values()
            for accepted in found.values()
            for text in _describe_small_limits(accepted)
        ),
    ]
    return [*(Error(text, id="config.E013") for text in problems), *_find_uncounted_processes()]


def _find_accepted(alias: str) -> tuple[str, AcceptedConnections] | None:
    """Return the address of the server of an alias and what it accepts; None if it cannot be reached."""
    with suppress(psycopg.OperationalError), closing(open_session(alias)) as session:
        [row] = psycopg.ClientCursor(session).execute(READ_ACCEPTED_SQL).fetchall()
        return f"{session.info.host}:{session.info.port}", AcceptedConnections(*row)
    return None


def _describe_small_server(address: str, found: dict[str, AcceptedConnections]) -> Iterator[str]:
    limits, accepted = settings.CONNECTIONS, min(one.by_server for one in found.values())
    affordable = (accepted - COMMAND_CONNECTIONS) // limits.processes
    if accepted < limits.count_needed():
        yield (
            f"The server of {', '.join(found)} ({address}) accepts {accepted} connections, but DATABASE_PROCESSES "
            f"({limits.processes}) x DATABASE_CONNECTIONS ({limits.connections}) and {COMMAND_CONNECTIONS} for commands are "
            f"{limits.count_needed()}: raise its max_connections"
            + (f", or set DATABASE_CONNECTIONS to {affordable}" if affordable >= MIN_CONNECTIONS else "")
        )


def _describe_small_limits(accepted: AcceptedConnections) -> Iterator[str]:
    limits, needed = settings.CONNECTIONS, settings.CONNECTIONS.count_needed(settings.CONNECTIONS.pool_size)
    for kind, name, limit in (
        ("ROLE", accepted.role, accepted.by_role),
        ("DATABASE", accepted.database, accepted.by_database),
    ):
        if not 0 <= limit < needed:
            continue
        yield (
            f"The {kind.lower()} {name} accepts {limit} connections, but DATABASE_PROCESSES ({limits.processes}) x "
            f"DATABASE_POOL_SIZE ({min(limits.pool_size, limits.connections)}) and {COMMAND_CONNECTIONS} for commands are "
            f'{needed}: run ALTER {kind} "{name}" CONNECTION LIMIT {needed}, or lower DATABASE_POOL_SIZE'
        )


def _find_uncounted_processes() -> Iterator[Warning]:
    counted, own = settings.CONNECTIONS.processes, count_server_processes()
    if counted < own:
        yield Warning(
            f"DATABASE_PROCESSES is {counted}, but this container alone has {own} server processes (WEB_WORKERS, and one more "
            "with INTERNAL_PORT): count those of all containers that connect to the same server",
            id="config.W006",
        )
