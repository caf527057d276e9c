"""A role that can change audit rows is found by the check at start and by /ready, and loses it to `manage.py databases`."""

from contextlib import closing

import pytest
from django.conf import settings
from django.core.checks import run_checks
from django.core.management import call_command
from psycopg.errors import InsufficientPrivilege

from ops.database_sessions import find_audit_privileges
from ops.peel.directory import connect_as_administrator
from ops.peel.ownership import limit_role, name_owner
from tests.concurrency import run_in_thread
from tests.ops.audit_rows.sessions import ALIAS, ROLE, connect, owned_by_its_role
from tests.readiness import read_readiness
from tests.shop.db.superuser_session import execute_as_superuser

OWNER = name_owner()

GRANTS = {
    "UPDATE": (f"GRANT UPDATE (actor) ON shop_auditentry TO {ROLE}", ""),
    "DELETE": (f"GRANT DELETE ON shop_auditentry TO {ROLE}", ""),
    "TRUNCATE": ("GRANT TRUNCATE ON shop_auditentry TO PUBLIC", ""),
    "TRIGGER": (f"GRANT TRIGGER ON shop_auditentry TO {ROLE}", ""),
    "INSERT with a time or an id": (f"GRANT INSERT ON shop_auditentry TO {ROLE}", ""),
    "owner of the table": (f"ALTER TABLE shop_auditentry OWNER TO {ROLE}", ""),
    "owner of the schema": (f"ALTER SCHEMA public OWNER TO {ROLE}", ""),
    "owner of the database": (f"GRANT {OWNER} TO {ROLE} WITH INHERIT FALSE", ""),
    "member of pg_write_all_data": (f"GRANT pg_write_all_data TO {ROLE}", f"REVOKE pg_write_all_data FROM {ROLE}"),
    "CREATEROLE": (f"ALTER ROLE {ROLE} CREATEROLE", f"ALTER ROLE {ROLE} NOCREATEROLE"),
    "superuser": (f"ALTER ROLE {ROLE} SUPERUSER", f"ALTER ROLE {ROLE} NOSUPERUSER"),
    "rule, foreign key or index expression of the table": (
        "CREATE INDEX planted ON shop_auditentry (lower(actor))", "DROP INDEX planted",
    ),
}  # fmt: skip


def read_state() -> tuple[list[str], bool]:
    _, body = read_readiness()
    return body["contexts"][ALIAS]["audit_privileges"], body["degraded"]


def test_a_shop_whose_databases_were_prepared_has_no_such_privilege():
    assert [find_audit_privileges(alias) for alias in settings.CONTEXTS] == [[]] * len(settings.CONTEXTS)
    assert run_in_thread(read_state)[0] == []


@pytest.mark.parametrize("privilege", GRANTS)
def test_a_privilege_with_which_rows_could_be_changed_is_found_and_taken(privilege):
    grant, revoke = GRANTS[privilege]
    execute_as_superuser(grant, database=ROLE)
    try:
        assert privilege in find_audit_privileges(ALIAS)
    finally:
        if revoke:
            execute_as_superuser(revoke, database=ROLE)
        call_command("databases")
    assert find_audit_privileges(ALIAS) == []


def test_a_role_that_can_change_audit_rows_is_reported_at_start_and_by_ready():
    with owned_by_its_role():
        [warning] = [found for found in run_checks(databases=[ALIAS], tags=["database"]) if found.id == "config.W007"]
        assert f"The role of {ALIAS} can change or remove audit rows: owner of the database, owner of" in warning.msg
        privileges, is_degraded = run_in_thread(read_state)
        assert (privileges[:1], is_degraded) == (["owner of the database"], True)
    assert run_checks(databases=[ALIAS], tags=["database"]) == []


def test_a_database_that_cannot_be_reached_is_left_out():
    execute_as_superuser(f"ALTER ROLE {ROLE} NOLOGIN")
    try:
        assert find_audit_privileges(ALIAS) == []
    finally:
        execute_as_superuser(f"ALTER ROLE {ROLE} LOGIN")


def test_an_upgrade_takes_the_rows_from_roles_that_are_connected():
    """A release that owned them continues to write while `manage.py databases` of the new one runs."""
    insert = (
        "INSERT INTO shop_auditentry (actor, action, object_type, object_id, detail) VALUES ('a', 'b', 'c', 'd', '{}')"
    )
    with owned_by_its_role(), closing(connect(autocommit=True)) as session:
        session.execute("UPDATE shop_auditentry SET detail = '{}'")
        call_command("databases")
        session.execute(insert)
        with pytest.raises(InsufficientPrivilege):
            session.execute("DELETE FROM shop_auditentry")
    assert find_audit_privileges(ALIAS) == []


def test_a_second_run_waits_for_no_reader():
    with closing(connect()) as reader, connect_as_administrator(settings.DATABASE_SERVER, ROLE) as administrator:
        reader.execute("SELECT * FROM shop_auditentry")
        limit_role(administrator, ROLE, ROLE)
