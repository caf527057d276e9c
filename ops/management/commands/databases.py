"""manage.py databases: create a database and a role for each hosted context, on the server of DATABASE_URL.

Run it before `migrate`, and after the first one again: it takes the audit tables from the roles that have created them.
"""

from typing import Any

import psycopg
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from ops.peel.directory import (
    Directory,
    ServerSettings,
    connect_as_administrator,
    create_database,
    create_directory,
    get_configured_location,
)
from ops.peel.ownership import limit_role


class Command(BaseCommand):
    help = "Create (or update) the database and role of each hosted context. Needs an administrator in DATABASE_URL."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--unlock-audit-tables",
            action="store_true",
            help="let the roles change their audit tables until this command runs again, for a migration that changes them",
        )

    def handle(self, *, unlock_audit_tables: bool, **_: object) -> None:
        try:
            self._create_all(settings.DATABASE_SERVER, unlock_audit_tables)
        except psycopg.Error as error:
            raise CommandError(f"The server of DATABASE_URL refused: {error}") from None

    def _create_all(self, server: ServerSettings, unlock_audit_tables: bool) -> None:
        if create_directory():
            self.stdout.write(f"created {settings.DIRECTORY['NAME']}")
        directory = Directory()
        with connect_as_administrator(server) as connection:
            for context in settings.CONTEXTS:
                if self._create(connection, server, directory, context):
                    self._limit_role(server, settings.DATABASES[context], unlock_audit_tables)

    def _create(
        self, connection: psycopg.Connection, server: ServerSettings, directory: Directory, context: str
    ) -> bool:
        """Create or update the database and the role of a context. Returns whether they are on this server."""
        database, location = settings.DATABASES[context], directory.get_location(context)
        if location[1:5] != get_configured_location(context)[1:5]:
            # Its old role must stay locked, and nothing needs the database that it left.
            self.stdout.write(f"{context} has moved: {location.dbname} at {location.host}")
            return False
        if (database["HOST"], database["PORT"]) != (server["HOST"], server["PORT"]):
            return False
        if create_database(connection, database["NAME"], database["USER"], database["PASSWORD"]):
            self.stdout.write(f"created {database['NAME']}")
        return True

    def _limit_role(self, server: ServerSettings, database: dict[str, Any], unlock_audit_table: bool) -> None:
        with connect_as_administrator(server, database["NAME"]) as connection:
            limit_role(connection, database["NAME"], database["USER"], unlock_audit_table=unlock_audit_table)
