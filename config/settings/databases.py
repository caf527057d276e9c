"""A database for each context, with a role of its own that has no rights in the others."""

from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

from config.settings.contexts import CONTEXTS
from config.settings.security import derive_secret
from shop.settings import env, read_positive_number, read_setting

DATABASE_PREFIX = read_setting("DATABASE_PREFIX", env.str, "satsuma")
POOL_SIZE = read_positive_number("DATABASE_POOL_SIZE", 16, env.int)

# Limits for how long one session can block others. A process that is stopped or cut off in the middle of a transaction
# loses it; sessions that wait for its locks get an outage error and retry.
SESSION_TIMEOUTS = {"lock_timeout": "5s", "statement_timeout": "15s", "idle_in_transaction_session_timeout": "4s"}
# A prepared statement is planned once, for all parameters. Every one of ours uses an index, so the plan has to as well,
# even if it is made while the tables of a new shop are empty: it stays in use while they grow.
# Without sequential scans an older server would rate such plans so expensive that it compiles them.
PLANNER_OPTIONS = {"plan_cache_mode": "force_generic_plan", "enable_seqscan": "off", "jit": "off"}


def read_postgres_url(name: str) -> dict[str, Any]:
    """Return the database at the postgres:// address in a setting."""
    return parse_postgres_url(name, read_setting(name, env.str))


def parse_postgres_url(name: str, url: str) -> dict[str, Any]:
    """Return the database at a postgres:// address. Its query may contain host, user and password, as libpq allows."""
    parsed: dict[str, Any] = environ.Env.db_url_config(url)
    if parsed.get("ENGINE") != "django.db.backends.postgresql":
        raise ImproperlyConfigured(f"{name} is not a postgres:// address; PostgreSQL is the only engine")
    options = dict(parsed.get("OPTIONS", {}))
    from_query = {part.upper(): options.pop(part) for part in ("host", "port", "user", "password") if part in options}
    return {**parsed, **from_query, "OPTIONS": options}


def build_database(context: str) -> dict[str, Any]:
    """Return the alias of a context: `<CONTEXT>_DATABASE_URL`, or its own database and role on DATABASE_URL's server."""
    override = f"{context.upper()}_DATABASE_URL"
    parsed = read_postgres_url(override) if override in env.ENVIRON else {**DATABASE_SERVER, **derive_role(context)}
    session = (f"-c {name}={value}" for name, value in (SESSION_TIMEOUTS | PLANNER_OPTIONS).items())
    options = " ".join([parsed["OPTIONS"].get("options", ""), *session])
    return {
        **parsed,
        "ENGINE": "shop.db.postgres",
        "CONN_MAX_AGE": 0,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {
            **parsed["OPTIONS"],
            "options": options,
            "connect_timeout": 3,
            "tcp_user_timeout": 5000,  # milliseconds, after which a server that disappeared silently counts as down
            "application_name": f"satsuma {context}",
            "pool": {"min_size": 0, "max_size": POOL_SIZE, "timeout": 5, "num_workers": 1, "max_idle": 60},
        },
        "TEST": {"DEPENDENCIES": []},
    }


def derive_role(context: str) -> dict[str, str]:
    """Return the database and the role of a context. The password follows from SECRET_KEY."""
    name = f"{DATABASE_PREFIX}_{context}"
    return {"NAME": name, "USER": name, "PASSWORD": derive_secret(f"role {context}")}


DATABASE_SERVER = read_postgres_url("DATABASE_URL")
# Records the new locations of databases; it is never moved itself.
DIRECTORY = {**DATABASE_SERVER, **derive_role("directory")}
DATABASES: dict[str, Any] = {"default": {}} | {context: build_database(context) for context in CONTEXTS}
DATABASE_ROUTERS = ["shop.db.router.Router"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
