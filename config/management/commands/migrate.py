"""manage.py migrate: Django's, on the database of every hosted context unless --database names one."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.commands import migrate
from django.db import DEFAULT_DB_ALIAS, connections

from shop.database import hosted

TURN = 6_382_475  # the advisory lock of those who migrate a database


@contextmanager
def alone_and_in_peace(alias: str) -> Iterator[None]:
    """One at a time: several containers may be started at once. It may take its time, but not make others wait for locks."""
    with connections[alias].cursor() as cursor:
        cursor.execute("SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; SET lock_timeout = 0")
        cursor.execute("SELECT pg_advisory_lock(%s)", [TURN])
        cursor.execute("RESET lock_timeout")
    try:
        yield
    finally:
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [TURN])
            cursor.execute("RESET statement_timeout; RESET idle_in_transaction_session_timeout")


class Command(migrate.Command):
    help = "Bring the database of every hosted context up to date."

    def handle(self, *args: Any, **options: Any) -> None:
        chosen = options["database"]
        for alias in hosted() if chosen == DEFAULT_DB_ALIAS else (chosen,):
            if options["verbosity"]:
                self.stdout.write(self.style.MIGRATE_HEADING(alias))
            with alone_and_in_peace(alias):
                super().handle(*args, **{**options, "database": alias, "skip_checks": True})
        sys.stdout.flush()
