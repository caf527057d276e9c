"""The role of a context can append audit rows and read them. It can neither change nor remove them, whatever it tries."""

from contextlib import closing

import psycopg
import pytest
from django.conf import settings
from django.db import connections
from psycopg.errors import InsufficientPrivilege

from ops.peel.directory import connect_as_administrator, create_database
from ops.peel.ownership import limit_role
from shop.audit import audit, find_latest_change
from shop.db.database import transaction
from tests.ops.audit_rows.attacks import ATTACKS, POWERS
from tests.ops.audit_rows.sessions import ALIAS, connect, describe, owned_by_its_role
from tests.shop.db.superuser_session import execute_as_superuser


@pytest.fixture(autouse=True)
def entry():
    """Write an audit entry, as a use case does."""
    with transaction(ALIAS):
        audit(ALIAS, actor="ada@example.com", action="refund", object_type="order", object_id="audited")
    connections[ALIAS].close()
    return find_latest_change(ALIAS, "order", "audited")


def test_the_role_can_append_entries_with_the_time_of_the_database(entry):
    [(now,)] = execute_as_superuser("SELECT now()")
    assert abs((now - entry.at).total_seconds()) < 60
    assert (entry.actor, entry.action) == ("ada@example.com", "refund")


@pytest.mark.parametrize("name", ATTACKS)
def test_the_role_can_neither_change_nor_remove_rows(name):
    with closing(connect()) as session:
        before = describe(session)
        with pytest.raises(InsufficientPrivilege):
            session.execute(ATTACKS[name])
        session.rollback()
        assert describe(session) == before


@pytest.mark.parametrize("name", ATTACKS)
def test_control_a_role_that_owns_its_database_can(name):
    with owned_by_its_role(), closing(connect()) as session:
        before = describe(session)
        session.execute(ATTACKS[name])
        assert describe(session) != before
        session.rollback()


@pytest.mark.parametrize("name", POWERS)
def test_the_role_cannot_give_itself_what_it_would_need(name):
    with closing(connect(autocommit=True)) as session, pytest.raises(InsufficientPrivilege):
        session.execute(POWERS[name])


@pytest.fixture
def unrelated_database():
    """Create a role and a database that no context uses, with an audit table that the role has created."""
    name = f"{settings.DATABASE_PREFIX}_audited"
    server = settings.DATABASE_SERVER
    with connect_as_administrator(server) as connection:
        create_database(connection, name, name, "secret")
    parameters = {"host": server["HOST"], "port": server["PORT"] or None, "user": name, "password": "secret"}
    with connect_as_administrator(server, name) as administrator:
        limit_role(administrator, name, name)
        with psycopg.connect(dbname=name, **parameters) as session:
            session.execute("CREATE TABLE shop_auditentry (id int, at timestamptz, actor text); CREATE TABLE own ()")
            session.execute("INSERT INTO shop_auditentry VALUES (1, now(), 'ada@example.com')")
        limit_role(administrator, name, name)
    yield name, parameters
    with connect_as_administrator(server) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        connection.execute(f"DROP ROLE {name}")


def test_a_role_that_drops_all_it_owns_leaves_the_audit_rows(unrelated_database):
    name, parameters = unrelated_database
    with psycopg.connect(dbname=name, **parameters) as session:
        session.execute("DROP OWNED BY CURRENT_USER CASCADE")
    found = "SELECT count(*), to_regclass('own') IS NULL FROM shop_auditentry"
    assert execute_as_superuser(found, database=name) == [(1, True)]


@pytest.mark.parametrize("attack", ["DROP DATABASE {} WITH (FORCE)", "ALTER DATABASE {} RENAME TO hidden_audit"])
def test_a_role_cannot_drop_or_rename_its_database(unrelated_database, attack):
    name, parameters = unrelated_database
    with psycopg.connect(dbname="postgres", autocommit=True, **parameters) as session:
        with pytest.raises(InsufficientPrivilege):
            session.execute(attack.format(name))
        execute_as_superuser(f"ALTER DATABASE {name} OWNER TO {name}; ALTER ROLE {name} CREATEDB")
        session.execute(attack.format(name))  # the control: its owner can
    execute_as_superuser("DROP DATABASE IF EXISTS hidden_audit WITH (FORCE)")
