"""manage.py create_staff: create a staff account, for example the first one of a new shop."""

import argparse
import os
from typing import Any, NoReturn

from django.core.management.base import BaseCommand, CommandError, CommandParser

from contexts.users.management.prompts import PASSWORD_VARIABLE, assert_users_hosted, read_password
from contexts.users.service import staff
from contexts.users.service.staff import StaffAccount
from shop.errors import DomainError
from shop.permissions import ALL_PERMISSIONS

ACTOR = staff.as_operator("create_staff")


class RefusedOption(argparse.Action):
    """Refuse a password on the command line, where every process of the machine and the shell's history can read it."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any, **__: Any) -> NoReturn:
        parser.error(
            "a password on the command line can be read by others. Leave --password out for a random one, set "
            f"{PASSWORD_VARIABLE}, or use --password-stdin."
        )


class Command(BaseCommand):
    help = "Create a staff account, or give an existing account to a member of staff. It can be run repeatedly."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--email", required=True)
        parser.add_argument("--password", action=RefusedOption, nargs="?", help="refused: use --password-stdin")
        parser.add_argument(
            "--password-stdin",
            action="store_true",
            help=f"read the password from the standard input; default: {PASSWORD_VARIABLE}, or a random one, which is printed",
        )
        parser.add_argument(
            "--permissions",
            help="comma-separated; * grants all permissions, the default for a new account. "
            "Replaces the permissions of an existing account, which are unchanged by default",
        )
        parser.add_argument(
            "--existing",
            action="store_true",
            help="allow an existing account: it gets a new password and loses its sessions",
        )
        parser.add_argument("--enable", action="store_true", help="enable an existing account that is disabled")
        parser.add_argument("--if-missing", action="store_true", help="do not change an existing account")

    def handle(self, *, email: str, permissions: str | None, if_missing: bool, **options: Any) -> None:
        assert_users_hosted()
        names = None if permissions is None else [name.strip() for name in permissions.split(",") if name.strip()]
        if names == []:
            raise CommandError("--permissions is empty. Remove permissions in the admin.")
        account = staff.find_account(email)
        if account and if_missing:
            self.stdout.write(f"{email} has an account; nothing changed.")
            return
        if account:
            self._assert_can_take_over(email, account, names, **options)
        given = _read_password(options)
        password = given or staff.generate_password()
        try:
            if account is None:
                staff.create(email=email, password=password, permissions=names or [ALL_PERMISSIONS], actor=ACTOR)
            else:
                self._take_over(account, password, names, is_enabled=options["enable"])
        except DomainError as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"{email} can sign in at /admin/" + ("" if given else f", password: {password}"))

    def _assert_can_take_over(
        self,
        email: str,
        account: StaffAccount,
        permissions: list[str] | None,
        *,
        existing: bool,
        enable: bool,
        **_: Any,
    ) -> None:
        """Raise CommandError unless the options allow to change this account, to enable it and what to grant."""
        if not existing:
            raise CommandError(
                f"{email} already has an account, and a stranger may have registered it. Nothing changed; --existing gives it "
                "a new password, ends all of its sessions and changes it as the options specify."
            )
        if not account.is_active and not enable:
            raise CommandError(
                f"{email} is disabled and cannot sign in. Nothing changed; --enable enables the account."
            )
        if not account.permissions and permissions is None:
            raise CommandError(
                f"{email} has an account without permissions, a customer's. Nothing changed; name what to grant with "
                "--permissions, for example --permissions orders.view,orders.change"
            )

    def _take_over(
        self, account: StaffAccount, password: str, permissions: list[str] | None, *, is_enabled: bool
    ) -> None:
        after = staff.take_over(
            account.id, permissions=permissions, password=password, is_enabled=is_enabled, actor=ACTOR
        )
        self.stdout.write(f"All sessions have ended. Permissions: {', '.join(after.permissions)}")
        if after.permissions != account.permissions:
            self.stdout.write(f"Permissions before: {', '.join(account.permissions) or 'none'}")


def _read_password(options: dict[str, Any]) -> str:
    """Return the password from the standard input or the environment, or an empty text for a random one."""
    if options["password_stdin"]:
        return read_password()
    given: str | None = options["password"]  # from a call in Python
    return given or os.environ.get(PASSWORD_VARIABLE, "")
