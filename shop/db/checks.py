"""Checks of the databases, which Django runs with `manage.py check --database` and before `migrate`."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.core.checks import Error, Tags, register

from shop.db.database import hosted_contexts
from shop.db.postgres.identities import DatabaseIdentity, identify_database
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
