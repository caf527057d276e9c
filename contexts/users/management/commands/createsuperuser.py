"""manage.py createsuperuser: Django's command, for accounts that are identified by their e-mail address."""

import os

from django.core.management.base import BaseCommand, CommandError, CommandParser

from contexts.users.management.prompts import PASSWORD_VARIABLE, ask_for_password, ask_for_text, assert_users_hosted
from contexts.users.service import passwords
from shop.errors import DomainError


class Command(BaseCommand):
    help = "Create an account with all permissions. An account that exists is not changed: use create_staff for it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--email", help="default: DJANGO_SUPERUSER_EMAIL; without it, the command asks")
        parser.add_argument("--full_name", "--full-name", help="default: DJANGO_SUPERUSER_FULL_NAME, else Staff")
        parser.add_argument(
            "--noinput", "--no-input", action="store_false",
            dest="interactive",
            help=f"do not ask; without {PASSWORD_VARIABLE} the account has no password and cannot sign in yet",
        )  # fmt: skip
        parser.add_argument("--database", default="users", choices=["users"], help="always users")

    def handle(self, *, email: str | None, full_name: str | None, interactive: bool, **_: object) -> None:
        assert_users_hosted()
        email = email or os.environ.get("DJANGO_SUPERUSER_EMAIL")
        full_name = full_name or os.environ.get("DJANGO_SUPERUSER_FULL_NAME") or "Staff"
        if not interactive and not email:
            raise CommandError("You must use --email with --noinput, or set DJANGO_SUPERUSER_EMAIL.")
        email = email or ask_for_text("E-mail address: ")
        password = os.environ.get(PASSWORD_VARIABLE) or None
        if interactive:
            password = ask_for_password()
        try:
            passwords.create_superuser(email=email, password=password, full_name=full_name, actor="createsuperuser")
        except DomainError as error:
            raise CommandError(str(error)) from None
        self.stdout.write(self._describe_result(email, password))

    def _describe_result(self, email: str, password: str | None) -> str:
        if password:
            return f"Superuser created successfully. {email} can sign in at /admin/"
        return f"Superuser created successfully. Set a password before {email} can sign in: manage.py changepassword"
