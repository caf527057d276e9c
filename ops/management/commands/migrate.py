"""manage.py migrate: Django's command, for the database of every hosted context unless --database names one."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management import CommandError
from django.core.management.commands import migrate
from django.db import DEFAULT_DB_ALIAS, ProgrammingError, connections
from django.db.backends.utils import CursorWrapper
from psycopg.errors import InsufficientPrivilege

from shop.db.database import OUTAGE_ERRORS, allow_long_statements, hosted_contexts
from shop.db.postgres.audit_privileges import AUDIT_TABLE

LOCK_POLL_SECONDS = 0.2
MIGRATION_LOCK_ID = 6_382_475  # advisory lock that serializes migrations of a database


def _try_lock(cursor: CursorWrapper) -> bool:
    cursor.execute("SELECT pg_try_advisory_lock(%s)", [MIGRATION_LOCK_ID])
    return bool(cursor.fetchone()[0])


@contextmanager
def hold_migration_lock(alias: str) -> Iterator[None]:
    """Hold the lock that lets one process migrate a database at a time, since several containers may start at once.

    A migration may take any time, but keeps the lock_timeout, so that other statements do not queue up behind it. The lock is
    polled: CREATE INDEX CONCURRENTLY waits for every running statement, even for one that is itself waiting for this lock.
    """
    with connections[alias].cursor() as cursor:
        cursor.execute("SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0")
        while not _try_lock(cursor):
            time.sleep(LOCK_POLL_SECONDS)
    try:
        yield
    finally:
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [MIGRATION_LOCK_ID])
            _restore(cursor, "statement_timeout", "idle_in_transaction_session_timeout")


def _restore(cursor: CursorWrapper, *names: str) -> None:
    """Set session settings to the configured values again. RESET would return to those of the server."""
    for name in names:
        cursor.execute("SELECT set_config(%s, %s, false)", [name, cursor.db.settings_dict["SESSION"][name]])


def _explain(alias: str, error: ProgrammingError) -> Exception:
    """Say what to do if a migration changes the audit table, which the role of the context does not own."""
    if not isinstance(error.__cause__, InsufficientPrivilege) or AUDIT_TABLE not in str(error):
        return error
    return CommandError(
        f"A migration of {alias} changes its audit table, which its role cannot: run `manage.py databases "
        "--unlock-audit-tables` first, then `manage.py migrate` and `manage.py databases`."
    )


class Command(migrate.Command):
    help = "Bring the database of every hosted context up to date."

    def handle(self, *args: Any, **options: Any) -> None:  # Django's own signature, passed on
        database = options["database"]
        for alias in hosted_contexts() if database == DEFAULT_DB_ALIAS else (database,):
            if options["verbosity"]:
                self.stdout.write(self.style.MIGRATE_HEADING(alias))
            try:
                with allow_long_statements(alias), hold_migration_lock(alias):
                    super().handle(*args, **{**options, "database": alias, "skip_checks": True})
            except ProgrammingError as error:
                raise _explain(alias, error) from error
            except OUTAGE_ERRORS as error:
                raise CommandError(
                    f"The migration of {alias} gave up: {str(error).strip()}. The migrations before it are kept; run "
                    "`manage.py migrate` again when the database is available and no long transaction holds its tables."
                ) from error
        sys.stdout.flush()
