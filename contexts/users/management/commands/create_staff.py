"""manage.py create_staff: create a staff account, for example the first one of a new shop."""

import secrets

from django.core.management.base import BaseCommand, CommandError, CommandParser

from contexts.users.service import staff
from contexts.users.service.staff import StaffAccount
from shop.errors import DomainError
from shop.permissions import ALL_PERMISSIONS

ACTOR = staff.as_operator("create_staff")


class Command(BaseCommand):
    help = "Create a staff account, or change an existing account as the options specify. It can be run repeatedly."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--email", required=True)
        parser.add_argument(
            "--password",
            help="default for a new account: a random one, which is printed; for an existing account: unchanged",
        )
        parser.add_argument(
            "--permissions",
            help="comma-separated; * grants all permissions, the default for a new account. "
            "Replaces the permissions of an existing account, which are unchanged by default",
        )
        parser.add_argument("--enable", action="store_true", help="enable an existing account that is disabled")
        parser.add_argument("--if-missing", action="store_true", help="do not change an existing account")

    def handle(
        self, *, email: str, password: str | None, permissions: str | None, enable: bool, if_missing: bool, **_: object
    ) -> None:
        names = None if permissions is None else [name.strip() for name in permissions.split(",") if name.strip()]
        if names == []:
            raise CommandError("--permissions is empty. Remove permissions in the admin.")
        account = staff.find_account(email)
        if account and if_missing:
            self.stdout.write(f"{email} has an account; nothing changed.")
            return
        try:
            if account is None:
                self._create(email, password, names or [ALL_PERMISSIONS])
            else:
                self._update(email, account, password, names, enable)
        except DomainError as error:
            raise CommandError(str(error)) from None

    def _create(self, email: str, password: str | None, permissions: list[str]) -> None:
        generated = None if password else secrets.token_urlsafe(12)
        staff.create(email=email, password=password or generated or "", permissions=permissions, actor=ACTOR)
        self.stdout.write(f"{email} can sign in at /admin/" + (f", password: {generated}" if generated else ""))

    def _update(
        self, email: str, account: StaffAccount, password: str | None, permissions: list[str] | None, enable: bool
    ) -> None:
        """Change an existing account. Nothing is granted, and no account is enabled, without an option for it."""
        if not account.is_active and not enable:
            raise CommandError(
                f"{email} is disabled and cannot sign in. Nothing changed; --enable enables the account."
            )
        if not account.permissions and permissions is None:
            raise CommandError(
                f"{email} has an account without permissions, a customer's. Nothing changed; name what to grant with "
                "--permissions, for example --permissions orders.view,orders.change"
            )
        after = staff.update(account.id, permissions=permissions, password=password, is_enabled=enable, actor=ACTOR)
        self.stdout.write(f"{email} can sign in at /admin/ with the permissions {', '.join(after.permissions)}")
        if after.permissions != account.permissions:
            self.stdout.write(f"Permissions before: {', '.join(account.permissions) or 'none'}")
