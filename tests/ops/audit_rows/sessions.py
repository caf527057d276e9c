"""Sessions of a context's role, and databases that belong to it as in earlier releases."""

from contextlib import contextmanager

import psycopg
from django.conf import settings
from django.core.management import call_command

from tests.shop.db.superuser_session import database_name, execute_as_superuser

ALIAS = "orders"
ROLE = settings.DATABASES[ALIAS]["USER"]

DESCRIPTION_SQL = """
SELECT (SELECT json_agg(row ORDER BY row.id) FROM public.shop_auditentry row)::text, relname, relpersistence, relrowsecurity,
       (SELECT string_agg(pg_get_expr(adbin, adrelid), ',' ORDER BY adnum) FROM pg_attrdef WHERE adrelid = pg_class.oid),
       EXISTS (SELECT FROM pg_trigger WHERE tgrelid = pg_class.oid),
       EXISTS (SELECT FROM pg_rewrite WHERE ev_class = pg_class.oid)
FROM pg_class WHERE oid = to_regclass('public.shop_auditentry')"""


def connect(alias: str = ALIAS, *, autocommit: bool = False) -> psycopg.Connection:
    """Open a session of a context's role, as an intruder with its password can."""
    role = settings.DATABASES[alias]
    return psycopg.connect(
        host=role["HOST"], port=role["PORT"] or None, dbname=role["NAME"], user=role["USER"], password=role["PASSWORD"],
        autocommit=autocommit,
    )  # fmt: skip


def describe(session: psycopg.Connection) -> list[tuple]:
    """Return the rows of the audit table, and what decides about those that are written later; nothing if it is missing."""
    if session.execute("SELECT to_regclass('public.shop_auditentry')").fetchone() == (None,):
        return []
    return session.execute(DESCRIPTION_SQL).fetchall()


def restore_former_owners(alias: str = ALIAS) -> None:
    """Let the role own what it owned in earlier releases: database, schema and audit table."""
    name = database_name(alias)
    for kind in (f"DATABASE {name}", "SCHEMA public", "TABLE public.shop_auditentry"):
        execute_as_superuser(f"ALTER {kind} OWNER TO {settings.DATABASES[alias]['USER']}", database=name)


@contextmanager
def owned_by_its_role():
    """Let the role of the context own everything, and run `manage.py databases` afterwards."""
    restore_former_owners()
    try:
        yield
    finally:
        call_command("databases")
