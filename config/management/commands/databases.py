"""manage.py databases: a database and a role of its own for each hosted context, on the server of DATABASE_URL."""

from typing import Any

import psycopg
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from psycopg import sql


class Command(BaseCommand):
    help = "Create (or bring up to date) each hosted context's database and role. Needs a superuser in DATABASE_URL."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self._create_all(settings.DATABASE_SERVER)
        except psycopg.Error as error:
            raise CommandError(f"The server of DATABASE_URL: {error}") from None

    def _create_all(self, server: dict[str, Any]) -> None:
        with psycopg.connect(
            host=server["HOST"], port=server["PORT"] or None, user=server["USER"], password=server["PASSWORD"] or None,
            dbname=server["NAME"] or "postgres", autocommit=True,
        ) as connection:  # fmt: skip
            for context in settings.CONTEXTS:
                database = settings.DATABASES[context]
                if database["HOST"] == server["HOST"] and database["PORT"] == server["PORT"]:
                    self._create(connection, database["NAME"], database["USER"], database["PASSWORD"])

    def _create(self, connection: psycopg.Connection, database: str, role: str, password: str) -> None:
        names = {"database": sql.Identifier(database), "role": sql.Identifier(role), "password": sql.Literal(password)}
        exists = "SELECT 1 FROM pg_roles WHERE rolname = %s"
        verb = "ALTER" if connection.execute(exists, [role]).fetchone() else "CREATE"
        connection.execute(sql.SQL(verb + " ROLE {role} LOGIN PASSWORD {password}").format(**names))
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database]).fetchone():
            connection.execute(sql.SQL("CREATE DATABASE {database} OWNER {role}").format(**names))
            self.stdout.write(f"created {database}")
        connection.execute(sql.SQL("REVOKE ALL ON DATABASE {database} FROM PUBLIC").format(**names))
