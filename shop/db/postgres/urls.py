"""Addresses of databases, as settings and options of commands have them."""

from typing import Any

import psycopg
from django.core.exceptions import ImproperlyConfigured
from psycopg.conninfo import conninfo_to_dict

MAX_PORT = 65_535


def parse_postgres_url(name: str, url: str) -> dict[str, Any]:
    """Return the database at a postgres:// address, as libpq reads it: its query may contain host, user and password, too.

    A special character in a user name or password has to be percent-encoded. Raises ImproperlyConfigured.
    """
    if not url.startswith(("postgres://", "postgresql://")):
        raise ImproperlyConfigured(f"{name} is not a postgres:// address; PostgreSQL is the only engine")
    try:
        options: dict[str, Any] = conninfo_to_dict(url)
        port = options.pop("port", None)
        numbers = [int(part) for part in str(port).split(",")] if port else []
        if not all(0 < number <= MAX_PORT for number in numbers):
            raise ValueError("the port is out of range")
    except (psycopg.Error, ValueError):  # its message may contain the password
        raise ImproperlyConfigured(
            f"{name} is not a valid postgres:// address: check it for a port that is not from 1 to 65535, an unknown "
            "option, and characters of a user name or password that have to be percent-encoded (# is %23, / is %2F, ? is %3F, "
            "@ is %40)"
        ) from None
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": options.pop("dbname", ""),
        "USER": options.pop("user", ""),
        "PASSWORD": options.pop("password", ""),
        "HOST": options.pop("host", ""),
        "PORT": numbers[0] if len(numbers) == 1 else (port or ""),
        "OPTIONS": options,
    }
