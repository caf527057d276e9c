"""Prompts of the commands about accounts."""

import getpass
import sys

from django.core.management.base import CommandError

from shop.db.database import hosted_contexts

PASSWORD_VARIABLE = "DJANGO_SUPERUSER_PASSWORD"
MAX_TRIES = 3


def assert_users_hosted() -> None:
    """Raise CommandError unless this process has the database of users."""
    if "users" not in hosted_contexts():
        raise CommandError("This process does not host users: run the command where CONTEXTS contains users.")


def ask_for_text(prompt: str) -> str:
    """Ask for a line that is not empty. Raises CommandError without a terminal."""
    _assert_terminal()
    for _ in range(MAX_TRIES):
        if answer := input(prompt).strip():
            return answer
    raise CommandError("Nothing was entered.")


def read_password() -> str:
    """Ask for a password, or read it from the first line of a pipe. Raises CommandError if there is none."""
    if sys.stdin.isatty():
        return ask_for_password()
    lines = [line for line in sys.stdin.read().splitlines() if line]
    if not lines or set(lines) != {lines[0]}:
        raise CommandError(
            f"Enter the password on a terminal, write it to the standard input, or set {PASSWORD_VARIABLE}."
        )
    return lines[0]


def ask_for_password() -> str:
    """Ask for a password twice, until both are equal. Raises CommandError after three tries, or without a terminal."""
    _assert_terminal()
    for _ in range(MAX_TRIES):
        first, second = getpass.getpass("Password: "), getpass.getpass("Password (again): ")
        if first and first == second:
            return first
        sys.stderr.write("The passwords are empty or do not match. Please try again.\n")
    raise CommandError("Aborting after 3 tries.")


def _assert_terminal() -> None:
    if not sys.stdin.isatty():
        raise CommandError(f"There is no terminal to ask on: use --noinput and {PASSWORD_VARIABLE}.")
