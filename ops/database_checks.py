"""Checks of the databases, which Django runs with `manage.py check --database` and before `migrate`."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register

from ops.database_sessions import DatabaseIdentity, find_audit_privileges, find_log_exposure, identify_database
from shop.db.database import hosted_contexts
from shop.db.postgres.log_settings import build_log_statements
from shop.db.postgres.sessions import SessionRefused

Found = TypeVar("Found")


def look_at_each(databases: Sequence[str] | None, look: Callable[[str], Found | None]) -> list[tuple[str, Found]]:
    """Return what is found at the hosted ones of these databases, within the connections that a process may open."""
    aliases = [alias for alias in databases or () if alias in hosted_contexts()]
    with ThreadPoolExecutor(min(len(aliases), settings.CONNECTIONS.connections) or 1) as pool:
        return [(alias, one) for alias, one in zip(aliases, pool.map(look, aliases), strict=True) if one]


@register(Tags.database)
def check_separate_databases(databases: Sequence[str] | None = None, **_: Any) -> list[Error]:
    """Check that no two contexts share a database, and that each connection has a session of its own.

    Contexts on one database could join their tables, and could not move. A database that cannot be reached is left out:
    /ready reports it.
    """
    found: list[tuple[str, DatabaseIdentity | SessionRefused]] = look_at_each(databases, identify_database)
    refusals = [
        Error(f"The database of {alias} cannot be used: {one}", id="config.E010")
        for alias, one in found
        if isinstance(one, SessionRefused)
    ]
    identities = [(alias, one) for alias, one in found if not isinstance(one, SessionRefused)]
    return [*refusals, *_find_shared_databases(identities)]


def _find_shared_databases(identities: Sequence[tuple[str, DatabaseIdentity]]) -> Iterator[Error]:
    owners: dict[DatabaseIdentity, str] = {}
    for alias, identity in identities:
        owner = owners.setdefault(identity, alias)
        if owner != alias:
            message = f"{alias} and {owner} are on one database ({identity[1]}): give each context its own"
            yield Error(message, id="config.E003")


@register(Tags.database)
def check_database_logs(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Check that the log of no database gets statements of the shop or their values, which contain personal data.

    A database that cannot be reached is left out: /ready reports its settings.
    """
    found = look_at_each(databases, find_log_exposure)
    kind, number = (Warning, "W005") if settings.ALLOW_PERSONAL_DATA_IN_DATABASE_LOG else (Error, "E012")
    return [
        kind(
            f"The server of {alias} writes statements and errors of the shop to its log, and with them personal data: run "
            "`manage.py databases` with a superuser in DATABASE_URL, or as a superuser: "
            f"{build_log_statements(exposure.owner, exposure.wanted)}. If the server does not allow it, protect its log like "
            "the database and set ALLOW_PERSONAL_DATA_IN_DATABASE_LOG=true (docs/deploy.md)",
            id=f"config.{number}",
        )
        for alias, exposure in found
    ]


@register(Tags.database)
def check_audit_privileges(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Check that the role of no context can change or remove audit rows.

    It is a warning, since a server may not let its operator take these privileges away. A database that cannot be reached is
    left out: /ready reports its privileges.
    """
    return [
        Warning(
            f"The role of {alias} can change or remove audit rows: {', '.join(privileges)}. Run `manage.py databases` with an "
            "administrator of the server in DATABASE_URL, also after the first `manage.py migrate` (docs/deploy.md)",
            id="config.W007",
        )
        for alias, privileges in look_at_each(databases, find_audit_privileges)
    ]
