"""manage.py databases: a database and a role of its own for each hosted context, on the server of DATABASE_URL."""

from typing import Any

import psycopg
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from config.directory import Directory, administrator, by_settings, create, make


class Command(BaseCommand):
    help = "Create (or bring up to date) each hosted context's database and role. Needs a superuser in DATABASE_URL."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self._create_all(settings.DATABASE_SERVER)
        except psycopg.Error as error:
            raise CommandError(f"The server of DATABASE_URL: {error}") from None

    def _create_all(self, server: dict[str, Any]) -> None:
        if make():
            self.stdout.write(f"created {settings.DIRECTORY['NAME']}")
        directory = Directory()
        with administrator(server) as connection:
            for context in settings.CONTEXTS:
                self._create(connection, server, directory, context)

    def _create(self, connection: psycopg.Connection, server: dict[str, Any], directory: Directory, context: str) -> None:
        database, now = settings.DATABASES[context], directory.place(context)
        if now[1:5] != by_settings(context)[1:5]:  # its old role has to stay shut, and its old database is not missed
            self.stdout.write(f"{context} has moved: {now.dbname} at {now.host}")
            return
        is_here = database["HOST"] == server["HOST"] and database["PORT"] == server["PORT"]
        if is_here and create(connection, database["NAME"], database["USER"], database["PASSWORD"]):
            self.stdout.write(f"created {database['NAME']}")
