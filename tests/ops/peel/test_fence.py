"""No session of the context can write to a fenced database, and rows are compared as they were at that moment."""

import threading
import time
from typing import Any

import psycopg
import pytest
from django.conf import settings

from ops.peel.comparison import DatabasesDiffer, compare_rows, open_snapshot
from ops.peel.database import Database
from ops.peel.directory import connect_as_administrator, create_database
from shop.db.postgres.locations import DatabaseLocation
from tests.concurrency import eventually

NAME = f"{settings.DATABASE_PREFIX}_fenced"


def connect(unrelated_database: Database, **options: Any) -> psycopg.Connection:
    location = unrelated_database.location
    return psycopg.connect(
        **location.connection_parameters() | {"port": location.port or None},
        password="secret",
        autocommit=True,
        **options,
    )


@pytest.fixture
def unrelated_database():
    """Create a role and a database that no context uses, to be fenced."""
    server = settings.DATABASE_SERVER
    with connect_as_administrator(server) as connection:
        create_database(connection, NAME, NAME, "secret")
    database = Database(server, DatabaseLocation(1, server["HOST"], str(server["PORT"] or ""), NAME, NAME))
    database.limit_role()
    yield database
    with connect_as_administrator(server) as connection:
        connection.execute(f"DROP DATABASE {NAME} WITH (FORCE)")
        connection.execute(f"DROP ROLE {NAME}")


def test_a_session_that_is_connecting_during_the_fence_cannot_write(unrelated_database):
    write_times = []

    def connect_slowly() -> None:
        try:
            with connect(unrelated_database, options="-c post_auth_delay=1") as late:
                late.execute("CREATE TABLE written (id int)")
                write_times.append(time.monotonic())
        except psycopg.OperationalError:
            pass  # the session was terminated, which is as good

    connecting = threading.Thread(target=connect_slowly)
    connecting.start()
    eventually(unrelated_database._find_starting_sessions)
    unrelated_database.fence()
    fenced_at = time.monotonic()
    connecting.join()
    assert [at for at in write_times if at > fenced_at] == []


def test_a_long_transaction_is_terminated(unrelated_database):
    with pytest.raises(psycopg.OperationalError), connect(unrelated_database) as long:
        fencing = threading.Thread(target=unrelated_database.fence)
        fencing.start()
        long.execute("SELECT pg_sleep(30)")
    fencing.join()
    with pytest.raises(psycopg.OperationalError):
        connect(unrelated_database)


def test_rows_are_compared_at_the_snapshot(unrelated_database):
    unrelated_database.execute("CREATE TABLE things (id int PRIMARY KEY)")
    unrelated_database.execute("INSERT INTO things VALUES (1)")
    held, other = open_snapshot(unrelated_database), open_snapshot(unrelated_database)
    unrelated_database.execute("INSERT INTO things VALUES (2)")
    assert compare_rows(["things"], held, other) == 1
    with pytest.raises(DatabasesDiffer, match="things"):
        earlier = open_snapshot(unrelated_database)
        unrelated_database.execute("INSERT INTO things VALUES (3)")
        compare_rows(["things"], earlier, open_snapshot(unrelated_database))
