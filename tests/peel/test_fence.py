"""A fence that nobody passes, and what was there when it came down."""

import threading
import time
from typing import Any

import psycopg
import pytest
from django.conf import settings

from config.directory import administrator, create
from config.peel.comparison import Different, compare, snapshot
from config.peel.database import Database
from shop.postgres.moves import Place
from tests.threads import eventually

NAME = f"{settings.DATABASE_PREFIX}_fenced"


def connected(stranger: Database, **options: Any) -> psycopg.Connection:
    place = stranger.place
    return psycopg.connect(
        host=place.host, port=place.port or None, dbname=place.dbname, user=place.user, password="secret", autocommit=True,
        **options,
    )  # fmt: skip


@pytest.fixture
def stranger():
    """A role and a database of nobody's, to be fenced."""
    server = settings.DATABASE_SERVER
    with administrator(server) as connection:
        create(connection, NAME, NAME, "secret")
    yield Database(server, Place(1, server["HOST"], str(server["PORT"] or ""), NAME, NAME))
    with administrator(server) as connection:
        connection.execute(f"DROP DATABASE {NAME} WITH (FORCE)")
        connection.execute(f"DROP ROLE {NAME}")


def test_who_was_being_let_in_when_the_fence_came_down_is_outside_too(stranger):
    wrote = []

    def come_in_slowly() -> None:
        try:
            with connected(stranger, options="-c post_auth_delay=1") as late:
                late.execute("CREATE TABLE written (id int)")
                wrote.append(time.monotonic())
        except psycopg.OperationalError:
            pass  # sent away, which is as good

    coming = threading.Thread(target=come_in_slowly)
    coming.start()
    eventually(stranger._entering)
    stranger.fence()
    shut = time.monotonic()
    coming.join()
    assert [at for at in wrote if at > shut] == []


def test_a_long_transaction_is_ended(stranger):
    with pytest.raises(psycopg.OperationalError), connected(stranger) as long:
        fencing = threading.Thread(target=stranger.fence)
        fencing.start()
        long.execute("SELECT pg_sleep(30)")
    fencing.join()
    with pytest.raises(psycopg.OperationalError):
        connected(stranger)


def test_rows_are_compared_as_they_were_at_the_cut(stranger):
    stranger.run("CREATE TABLE things (id int PRIMARY KEY)")
    stranger.run("INSERT INTO things VALUES (1)")
    held, other = snapshot(stranger), snapshot(stranger)
    stranger.run("INSERT INTO things VALUES (2)")
    assert compare(["things"], held, other) == 1
    with pytest.raises(Different, match="things"):
        earlier = snapshot(stranger)
        stranger.run("INSERT INTO things VALUES (3)")
        compare(["things"], earlier, snapshot(stranger))
