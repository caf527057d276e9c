"""A database for each context, with a role of its own that has no rights in the others."""

from typing import Any

from django.core.exceptions import ImproperlyConfigured

from config.settings.contexts import CONTEXTS
from config.settings.credentials import CREDENTIALS
from config.settings.server import INTERNAL_THREADS, WEB_THREADS
from shop.connection_settings import read_connection_settings
from shop.credentials import DIRECTORY as DIRECTORY_ROLE
from shop.credentials import name_role
from shop.db.postgres.session_settings import build_session_settings
from shop.db.postgres.urls import parse_postgres_url
from shop.setting_types import read_database_prefix
from shop.settings import env, read_number, read_setting, read_whole_number

# Databases and roles are called `<prefix>_<context>`.
DATABASE_PREFIX = read_setting("DATABASE_PREFIX", read_database_prefix, "satsuma")
CONNECTIONS = read_connection_settings(threads=max(WEB_THREADS, INTERNAL_THREADS), contexts=len(CONTEXTS))

# How long a statement may wait for the answer of a server, in seconds. After 15 s a server that works ends it itself.
ANSWER_TIMEOUT = read_number("DATABASE_ANSWER_TIMEOUT_SECONDS", 17, most=3600)

# How long a process may pause between two statements of a transaction, in seconds. One that is stopped or cut off loses the
# transaction then; sessions that wait for its locks get an outage error and retry. On a busy machine, some seconds are normal.
IDLE_TRANSACTION_TIMEOUT = read_whole_number("DATABASE_IDLE_TRANSACTION_SECONDS", 15, least=4, most=3600)
# Start although the server of a database may write statements of the shop to its log, with personal data: for a server that
# does not let its administrator set what keeps them out, and whose log is protected like the database.
ALLOW_PERSONAL_DATA_IN_DATABASE_LOG = read_setting("ALLOW_PERSONAL_DATA_IN_DATABASE_LOG", env.bool, False)


def build_database(context: str) -> dict[str, Any]:
    """Return the alias of a context: `<CONTEXT>_DATABASE_URL`, or its own database and role on DATABASE_URL's server."""
    override = read_setting(
        f"{context.upper()}_DATABASE_URL",
        env.str,
        "",
        family="<CONTEXT>_DATABASE_URL",
        description="Database of a context on another server, as in postgres://user:password@host:5432/name.",
    )
    parsed = (
        parse_postgres_url(f"{context.upper()}_DATABASE_URL", override)
        if override
        else {**DATABASE_SERVER, **derive_role(context)}
    )
    if not parsed["NAME"]:
        raise ImproperlyConfigured(f"{context.upper()}_DATABASE_URL names no database, as in postgres://…/name")
    return {
        **parsed,
        "ENGINE": "shop.db.postgres",
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {
            **parsed["OPTIONS"],
            "connect_timeout": 3,
            "tcp_user_timeout": 5000,  # milliseconds, after which a server that disappeared silently counts as down
            "application_name": f"satsuma {context}",
            "pool": CONNECTIONS.build_pool_options(),
        },
        "ANSWER_TIMEOUT": ANSWER_TIMEOUT,
        "SESSION": build_session_settings(IDLE_TRANSACTION_TIMEOUT),  # set by shop.db.postgres on each new connection
        "TEST": {"DEPENDENCIES": []},
    }


def derive_role(context: str) -> dict[str, Any]:
    """Return the database and the role of a context. The password follows from CREDENTIAL_KEY.

    FORMER_PASSWORDS are accepted by a server on which `manage.py databases` did not run yet after a change of that key.
    """
    name = f"{DATABASE_PREFIX}_{context}"
    if not (passwords := CREDENTIALS.find(name_role(context))):
        raise ImproperlyConfigured(
            f"{context.upper()}_SECRETS is not set: this process has the secrets of other contexts, but not of {context}"
        )
    password, *former = dict.fromkeys([*passwords, *CREDENTIALS.find_former_passwords(context)])
    return {"NAME": name, "USER": name, "PASSWORD": password, "FORMER_PASSWORDS": former}


DATABASE_SERVER = parse_postgres_url(
    "DATABASE_URL",
    read_setting(
        "DATABASE_URL",
        env.str,
        description="Server of the databases: postgres://user:password@host:5432/postgres. Only `manage.py databases` needs a "
        "superuser.",
    ),
)
# Records the new locations of databases; it is never moved itself.
DIRECTORY = {**DATABASE_SERVER, **derive_role(DIRECTORY_ROLE)}
DATABASES: dict[str, Any] = {"default": {}} | {context: build_database(context) for context in CONTEXTS}
DATABASE_ROUTERS = ["shop.db.router.Router"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
