"""Connections through a pooler: in session mode they keep their time limits, in transaction mode they are refused."""

import os
import subprocess
import sys
from contextlib import closing

import psycopg
import pytest
from django.conf import settings
from django.db import connections

from shop.db.postgres import sessions
from shop.db.postgres.sessions import SessionRefused
from tests.shop.db.pooler import Pooler

EXPECTED = settings.DATABASES["orders"]["SESSION"]
IGNORED = ("options", "extra_float_digits")


@pytest.fixture(autouse=True)
def forget_verified_poolers(monkeypatch):
    monkeypatch.setattr(sessions, "_verified", set())


def open_through(pooler, **options):
    """Open a configured connection to orders through a pooler."""
    wrapper = connections.create_connection("orders")
    wrapper.settings_dict = wrapper.settings_dict | {"HOST": "127.0.0.1", "PORT": pooler.port}
    wrapper.settings_dict["OPTIONS"] = wrapper.settings_dict["OPTIONS"] | options
    return wrapper.open_session()


def read_session(connection):
    rows = psycopg.ClientCursor(connection).execute("SELECT name, setting || coalesce(unit, '') FROM pg_settings")
    return dict(rows)


def test_each_connection_has_its_time_limits_and_planner_options():
    with closing(connections.create_connection("orders").open_session()) as connection:
        for name, value in EXPECTED.items():
            [[found]] = psycopg.ClientCursor(connection).execute(f"SHOW {name}").fetchall()
            assert found == value


def test_a_connection_of_the_pool_has_them_too():
    for name, value in EXPECTED.items():
        with connections["orders"].cursor() as cursor:
            cursor.execute(f"SHOW {name}")
            assert cursor.fetchone() == (value,)


@pytest.mark.parametrize("ignored", [(), IGNORED])
def test_a_pooler_in_session_mode_keeps_the_time_limits(ignored):
    with closing(Pooler("session", ignored)) as pooler, closing(open_through(pooler)) as connection:
        assert read_session(connection)["statement_timeout"] == "15000ms"
        with pytest.raises(psycopg.errors.QueryCanceled):
            psycopg.ClientCursor(connection).execute("SET statement_timeout = '50ms'; SELECT pg_sleep(60)")


def test_control_startup_parameters_are_refused_or_dropped_by_a_pooler():
    server, limit = settings.DATABASES["orders"], {"options": "-c statement_timeout=15s"}
    login = {"host": "127.0.0.1", "dbname": server["NAME"], "user": server["USER"], **limit}
    with closing(Pooler("session")) as pooler, pytest.raises(psycopg.OperationalError, match="unsupported startup"):
        psycopg.connect(**login, port=pooler.port)
    with closing(Pooler("session", IGNORED)) as pooler, psycopg.connect(**login, port=pooler.port) as connection:
        assert read_session(connection)["statement_timeout"] == "0ms"


@pytest.mark.parametrize("ignored", [(), IGNORED])
def test_a_pooler_in_transaction_mode_is_refused(ignored):
    with closing(Pooler("transaction", ignored)) as pooler, pytest.raises(SessionRefused, match="pool_mode = session"):
        open_through(pooler)


def test_a_refused_session_stops_the_start_with_a_message():
    with closing(Pooler("transaction")) as pooler:
        server = settings.DATABASES["orders"]
        url = f"postgres://{server['USER']}:{server['PASSWORD']}@127.0.0.1:{pooler.port}/{server['NAME']}"
        done = subprocess.run(
            [sys.executable, "manage.py", "check", "--database", "orders"], cwd=settings.BASE_DIR,
            env=os.environ | {"ORDERS_DATABASE_URL": url}, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert "The database of orders cannot be used: a connection pooler is in between" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_session_that_does_not_keep_its_settings_is_refused():
    with (
        closing(connections.create_connection("orders").open_session()) as connection,
        pytest.raises(SessionRefused, match="do not hold"),
    ):
        sessions.configure_session(connection, EXPECTED | {"lock_timeout": "5000ms"})  # reported as 5s


def test_a_migration_ends_with_the_limits_of_the_settings():
    from ops.management.commands.migrate import hold_migration_lock

    with hold_migration_lock("orders"):
        pass
    with connections["orders"].cursor() as cursor:
        for name, value in EXPECTED.items():
            cursor.execute(f"SHOW {name}")
            assert cursor.fetchone() == (value,)
