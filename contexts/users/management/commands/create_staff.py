"""Make staff of somebody: the first one of a new shop, or any other."""

import secrets
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from contexts.users.service import accounts, staff
from shop.errors import DomainError


class Command(BaseCommand):
    help = "Open a staff account, or make staff of the account that has this address. Repeating it changes nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--email", required=True)
        parser.add_argument("--password", help="a random one is made and printed if a new account is given none")
        parser.add_argument("--permissions", default="*", help="separated by commas; * (the default) stands for all")
        parser.add_argument("--if-missing", action="store_true", help="leave an account that exists as it is")

    def handle(self, *, email: str, password: str | None, permissions: str, if_missing: bool, **_: Any) -> None:
        exists = accounts.exists(email)
        if exists and if_missing:
            self.stdout.write(f"{email} has an account; nothing changed.")
            return
        made = None if password or exists else secrets.token_urlsafe(12)
        wanted = [name.strip() for name in permissions.split(",") if name.strip()]
        try:
            staff.appoint(email=email, password=password or made, permissions=wanted, actor="create_staff")
        except DomainError as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"{email} may sign in at /admin/" + (f", password: {made}" if made else ""))
