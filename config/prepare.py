"""Databases, tables, catalogue and a member of staff: everything between an empty server and a shop that sells.

Idempotent. Prints one line of JSON: who may sign in to the admin, with the password if it was just made.
"""

import json
import os
import sys
from io import StringIO

import django
import structlog
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command

from shop.database import hosted


def settings_of_the_first_start() -> tuple[str, bool]:
    """Whose address may sign in to the admin, and whether there are things to look at. Raises CommandError."""
    wish = os.environ.get("SEED_CATALOGUE") or "true"
    if wish not in ("true", "false"):
        raise CommandError(f"SEED_CATALOGUE is {wish!r}; it can be true, false")
    return os.environ.get("STAFF_EMAIL") or "staff@satsuma.example", wish == "true"


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        django.setup()
        print(json.dumps(prepare()))
    except (ImproperlyConfigured, CommandError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def prepare() -> dict[str, str]:
    staff, with_catalogue = settings_of_the_first_start()
    call_command("databases", stdout=sys.stderr)
    call_command("migrate", verbosity=0)
    call_command("check", databases=list(django.conf.settings.CONTEXTS), stdout=StringIO())
    if with_catalogue and "inventory" in hosted():
        call_command("seed_catalogue", stdout=sys.stderr)
    said = StringIO()
    if "users" in hosted():
        call_command("create_staff", email=staff, permissions="*", if_missing=True, stdout=said)
    password = said.getvalue().rpartition("password: ")[2].strip() if "password: " in said.getvalue() else ""
    return {"email": staff, "password": password}


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    sys.exit(main())
