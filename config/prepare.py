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

STAFF = "staff@satsuma.example"


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
    call_command("databases", stdout=sys.stderr)
    call_command("migrate", verbosity=0)
    call_command("check", databases=list(django.conf.settings.CONTEXTS), stdout=StringIO())
    call_command("seed_catalogue", stdout=sys.stderr)
    said = StringIO()
    call_command("create_staff", email=STAFF, permissions="*", if_missing=True, stdout=said)
    password = said.getvalue().rpartition("password: ")[2].strip() if "password: " in said.getvalue() else ""
    return {"email": STAFF, "password": password}


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    sys.exit(main())
