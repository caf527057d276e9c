"""manage.py create_staff: create a staff account, for example the first one of a new shop."""

import secrets

from django.core.management.base import BaseCommand, CommandError, CommandParser

from contexts.users.service import accounts, staff
from shop.errors import DomainError


class Command(BaseCommand):
    help = "Create a staff account, or grant permissions to an existing account. It can be run repeatedly."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--email", required=True)
        parser.add_argument("--password", help="default for a new account: a random one, which is printed")
        parser.add_argument(
            "--permissions", default="*", help="comma-separated; * (the default) grants all permissions"
        )
        parser.add_argument("--if-missing", action="store_true", help="do not change an existing account")

    def handle(self, *, email: str, password: str | None, permissions: str, if_missing: bool, **_: object) -> None:
        exists = accounts.exists(email)
        if exists and if_missing:
            self.stdout.write(f"{email} has an account; nothing changed.")
            return
        generated = None if password or exists else secrets.token_urlsafe(12)
        names = [name.strip() for name in permissions.split(",") if name.strip()]
        try:
            staff.create_or_update_staff(
                email=email, password=password or generated, permissions=names, actor="create_staff"
            )
        except DomainError as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"{email} can sign in at /admin/" + (f", password: {generated}" if generated else ""))
