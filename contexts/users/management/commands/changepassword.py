"""manage.py changepassword: Django's command, for accounts that are identified by their e-mail address."""

import os

from django.core.management.base import BaseCommand, CommandError, CommandParser

from contexts.users.management.prompts import PASSWORD_VARIABLE, assert_users_hosted, read_password
from contexts.users.service import passwords
from shop.errors import DomainError


class Command(BaseCommand):
    help = "Set the password of an account, and end its sessions."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username", metavar="email", help="e-mail address of the account")
        parser.add_argument(
            "--noinput",
            "--no-input",
            action="store_false",
            dest="interactive",
            help=f"do not ask; read the password from {PASSWORD_VARIABLE}",
        )
        parser.add_argument("--database", default="users", choices=["users"], help="always users")

    def handle(self, *, username: str, interactive: bool, **_: object) -> None:
        assert_users_hosted()
        password = read_password() if interactive else os.environ.get(PASSWORD_VARIABLE, "")
        if not password:
            raise CommandError(f"Set {PASSWORD_VARIABLE} to use --noinput.")
        try:
            passwords.set_password(username, password=password, actor="changepassword")
        except DomainError as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"Password changed successfully for {username}")
