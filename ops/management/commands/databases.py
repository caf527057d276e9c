"""manage.py databases: create a database and a role for each hosted context, on the server of DATABASE_URL."""

import psycopg
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from ops.peel.directory import (
    Directory,
    ServerSettings,
    connect_as_administrator,
    create_database,
    create_directory,
    get_configured_location,
)


class Command(BaseCommand):
    help = "Create (or update) the database and role of each hosted context. Needs a superuser in DATABASE_URL."
    requires_system_checks = []

    def handle(self, **_: object) -> None:
        try:
            self._create_all(settings.DATABASE_SERVER)
        except psycopg.Error as error:
            raise CommandError(f"The server of DATABASE_URL refused: {error}") from None

    def _create_all(self, server: ServerSettings) -> None:
        if create_directory():
            self.stdout.write(f"created {settings.DIRECTORY['NAME']}")
        directory = Directory()
        with connect_as_administrator(server) as connection:
            for context in settings.CONTEXTS:
                self._create(connection, server, directory, context)

    def _create(
        self, connection: psycopg.Connection, server: ServerSettings, directory: Directory, context: str
    ) -> None:
        database, location = settings.DATABASES[context], directory.get_location(context)
        if location[1:5] != get_configured_location(context)[1:5]:
            # Its old role must stay locked, and nothing needs the database that it left.
            self.stdout.write(f"{context} has moved: {location.dbname} at {location.host}")
            return
        is_on_server = database["HOST"] == server["HOST"] and database["PORT"] == server["PORT"]
        if is_on_server and create_database(connection, database["NAME"], database["USER"], database["PASSWORD"]):
            self.stdout.write(f"created {database['NAME']}")
