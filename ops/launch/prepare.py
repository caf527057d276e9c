"""Initialize an empty server: databases, tables, catalogue and a staff account.

Idempotent. Prints one line of JSON: the email of the staff account, and its password if the account is new.
"""

import json
import os
import sys
from io import StringIO

import django
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command

from shop.db.database import OUTAGE_ERRORS, hosted_contexts
from shop.logs import write_logs_to_stderr


def read_initial_settings() -> tuple[str, bool]:
    """Read the email of the staff account and whether to create a catalogue. Raises CommandError."""
    seed_catalogue = os.environ.get("SEED_CATALOGUE") or "true"
    if seed_catalogue not in ("true", "false"):
        raise CommandError(f"SEED_CATALOGUE is {seed_catalogue!r}; it must be true or false")
    return os.environ.get("STAFF_EMAIL") or "staff@satsuma.example", seed_catalogue == "true"


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        django.setup()
        print(json.dumps(prepare()))
    except (ImproperlyConfigured, CommandError, *OUTAGE_ERRORS) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def prepare() -> dict[str, str]:
    """Prepare the hosted contexts. Returns the email of the staff account and its password, empty if it existed."""
    staff_email, seed_catalogue = read_initial_settings()
    call_command("databases", stdout=sys.stderr)
    call_command("migrate", verbosity=0)
    call_command("databases", stdout=sys.stderr)  # takes new audit tables from the roles that have created them
    call_command("check", databases=list(django.conf.settings.CONTEXTS), stdout=StringIO())
    if seed_catalogue and "inventory" in hosted_contexts():
        call_command("seed_catalogue", stdout=sys.stderr)
    output = StringIO()
    if "users" in hosted_contexts():
        call_command("create_staff", email=staff_email, permissions="*", if_missing=True, stdout=output)
    password = output.getvalue().rpartition("password: ")[2].strip() if "password: " in output.getvalue() else ""
    return {"email": staff_email, "password": password}


if __name__ == "__main__":
    write_logs_to_stderr()
    sys.exit(main())
