"""manage.py migrate: Django's, on the database of every hosted context unless --database names one."""

import sys
from typing import Any

from django.core.management.commands import migrate
from django.db import DEFAULT_DB_ALIAS, connections

from shop.database import hosted


class Command(migrate.Command):
    help = "Bring the database of every hosted context up to date."

    def handle(self, *args: Any, **options: Any) -> None:
        chosen = options["database"]
        for alias in hosted() if chosen == DEFAULT_DB_ALIAS else (chosen,):
            if options["verbosity"]:
                self.stdout.write(self.style.MIGRATE_HEADING(alias))
            with connections[alias].cursor() as cursor:  # it may take its time, but not make others wait for its locks
                cursor.execute("SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0")
            super().handle(*args, **{**options, "database": alias, "skip_checks": True})
            with connections[alias].cursor() as cursor:
                cursor.execute("RESET statement_timeout; RESET idle_in_transaction_session_timeout")
        sys.stdout.flush()
