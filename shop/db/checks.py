"""Checks of the databases, which Django runs with `manage.py check --database` and before `migrate`."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register

from shop.db.database import hosted_contexts
from shop.db.postgres.identities import DatabaseIdentity, find_log_exposure, identify_database
from shop.db.postgres.log_settings import build_log_statements
from shop.db.postgres.sessions import SessionRefused


@register(Tags.database)
def check_separate_databases(databases: Sequence[str] | None = None, **_: Any) -> list[Error]:
    """Check that no two contexts share a database, and that each connection has a session of its own.

    Contexts on one database could join their tables, and could not move. A database that cannot be reached is left out:
    /ready reports it.
    """
    aliases = [alias for alias in databases or () if alias in hosted_contexts()]
    with ThreadPoolExecutor(len(aliases) or 1) as pool:
        found = [(alias, one) for alias, one in zip(aliases, pool.map(identify_database, aliases), strict=True) if one]
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
    aliases = [alias for alias in databases or () if alias in hosted_contexts()]
    with ThreadPoolExecutor(len(aliases) or 1) as pool:
        found = [(alias, one) for alias, one in zip(aliases, pool.map(find_log_exposure, aliases), strict=True) if one]
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
