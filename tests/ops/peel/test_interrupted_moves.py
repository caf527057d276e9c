"""A move that is killed, rolled back or finished at any point loses nothing. `make test-moves` runs this file."""

import signal

import psycopg
import pytest
from django.conf import settings

from ops.peel.directory import connect_as_administrator
from shop.db.postgres.urls import parse_postgres_url
from tests.ops.peel.moves import (
    assert_nothing_lost,
    await_sales,
    binding_of,
    database_url_of,
    verify_when_idle,
)
from tests.ops.peel.moving_shop import PREFIX, Buyers, MovingShop

KILL_POINTS = [  # points at which the command is killed, in the order in which it reaches them
    "made.before", "made.after", "copied.after", "mirrored.after", "fence.before", "fence.after", "drain.after", "decide.after",
    "open.after", "moved.after", "verified.after",
]  # fmt: skip
ROLLBACK_KILL_POINTS = ["fence.after", "decide.after", "open.after"]


def can_log_in(shop: MovingShop, context: str, database: str) -> bool:
    """Return whether a process of the context that is configured for the new database could use it."""
    server = parse_postgres_url("new", shop.new_database_url(database)) | {
        "USER": f"{PREFIX}_{context}_2", "PASSWORD": settings.DATABASES[context]["PASSWORD"],
    }  # fmt: skip
    try:
        connect_as_administrator(server).close()
    except psycopg.OperationalError:
        return False
    return True


def peel_and_kill_at(shop: MovingShop, point: str, context: str, database: str, *options: str) -> None:
    done = shop.peel(context, database, *options, CHAOS=f"peel.{point}:1:kill")
    assert done.returncode == -signal.SIGKILL, f"{point}: {done.stdout}{done.stderr}"


def test_a_move_killed_repeatedly_resumes(shop, customer):
    context = "orders"
    with Buyers(customer) as buyers:
        for point in KILL_POINTS:
            peel_and_kill_at(shop, point, context, "test_again")
            if point == "mirrored.after":
                assert not can_log_in(shop, context, "test_again"), "it could be written to before the cut"
        ended = shop.peel(context, "test_again")
        assert ended.returncode == 0, ended.stderr
        await_sales(buyers)
        finished = shop.peel(context, "test_again", "--finish")
        assert finished.returncode == 0, finished.stderr
        await_sales(buyers)
    assert binding_of(shop, context) == (2, "test_again", False)
    assert_nothing_lost(shop, buyers)


@pytest.mark.parametrize("point", ["copied.after", "fence.after", "decide.after"])
def test_a_killed_move_can_be_rolled_back(shop, customer, point):
    database = f"test_cut_at_{point.partition('.')[0]}"
    before = binding_of(shop, "users")
    with Buyers(customer) as buyers:
        peel_and_kill_at(shop, point, "users", database)
        for cut in ROLLBACK_KILL_POINTS if point == "decide.after" else ():
            peel_and_kill_at(shop, cut, "users", database, "--rollback")
            onward = shop.peel("users", database)
            assert "is being rolled back: continue with --rollback" in onward.stderr
            assert shop.peel("users", database, "--finish").returncode == 1
        back = shop.peel("users", database, "--rollback")
        assert back.returncode == 0, back.stderr
        await_sales(buyers)
    epoch, at, moving = binding_of(shop, "users")
    assert (at, moving) == (f"{PREFIX}_users", False)
    assert before is None or epoch >= before[0]
    assert_nothing_lost(shop, buyers)


def test_differing_copies_roll_the_move_back(shop, customer):
    with Buyers(customer) as buyers:
        await_sales(buyers)
    peel_and_kill_at(shop, "copied.after", "notifications", "test_different")
    with connect_as_administrator(parse_postgres_url("new", shop.new_database_url("test_different"))) as new:
        planted = "UPDATE shop_inboxrow SET sequence = sequence + 1000 WHERE id = (SELECT min(id) FROM shop_inboxrow)"
        assert new.execute(planted).rowcount == 1
    done = shop.peel("notifications", "test_different")
    assert done.returncode == 1
    assert "The databases differed at the cut-over, so the move was rolled back: shop_inboxrow" in done.stderr
    assert binding_of(shop, "notifications")[1:] == (f"{PREFIX}_notifications", False)
    verify_when_idle(shop)


def test_a_migration_during_the_move_is_detected(shop):
    peel_and_kill_at(shop, "copied.after", "users", "test_migrated")
    with connect_as_administrator(parse_postgres_url("old", database_url_of(shop, "users"))) as old:
        old.execute("INSERT INTO django_migrations (app, name, applied) VALUES ('users', '9999_later', now())")
        try:
            later = shop.peel("users", "test_migrated")
        finally:
            old.execute("DELETE FROM django_migrations WHERE name = '9999_later'")
    assert "One database has been migrated during the move" in later.stderr
    assert shop.peel("users", "test_migrated", "--rollback").returncode == 0
    assert binding_of(shop, "users")[2] is False


def test_a_moved_database_is_not_recreated_at_its_old_place(shop, customer):
    moved = shop.peel("payments", "test_for_good")
    assert moved.returncode == 0, moved.stderr
    assert shop.peel("payments", "test_for_good", "--finish").returncode == 0
    with connect_as_administrator(parse_postgres_url("old", shop.old.url)) as server:
        server.execute(f"DROP DATABASE {PREFIX}_payments WITH (FORCE)")
        server.execute(f"DROP ROLE {PREFIX}_payments")
    assert "payments has moved: test_for_good" in shop.manage("databases").stdout
    with connect_as_administrator(parse_postgres_url("old", shop.old.url)) as server:
        assert not server.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [f"{PREFIX}_payments"]).fetchone()
    onward = shop.peel("payments", "test_elsewhere", "--plan")
    assert "name it with --from" in onward.stderr
    with connect_as_administrator(parse_postgres_url("new", shop.new_database_url("postgres"))) as new:
        password = (
            f"SELECT rolpassword FROM pg_authid WHERE rolname = '{PREFIX}_payments_{binding_of(shop, 'payments')[0]}'"
        )
        before = new.execute(password).fetchone()
        assert "payments is in test_for_good" in shop.peel("payments", "test_elsewhere", "--password").stderr
        assert new.execute(password).fetchone() == before
        assert shop.peel("payments", "test_for_good", "--password").returncode == 0
        assert new.execute(password).fetchone() != before
    wrong = shop.peel("payments", "test_elsewhere", "--plan", "--from", shop.old.url)
    assert "cannot be reached at the server of --from" in wrong.stderr
    with Buyers(customer) as buyers:
        await_sales(buyers)
    assert_nothing_lost(shop, buyers)


def test_a_rollback_works_without_the_new_server(shop, customer):
    peel_and_kill_at(shop, "copied.after", "users", "test_lost")
    shop.new.stop()
    try:
        back = shop.peel("users", "test_lost", "--rollback")
    finally:
        shop.new.start()
    assert back.returncode == 0, back.stderr
    assert "left behind at the new server, in test_lost" in back.stdout
    with connect_as_administrator(parse_postgres_url("old", database_url_of(shop, "users"))) as old:
        remaining = "SELECT slot_name FROM pg_replication_slots UNION SELECT pubname FROM pg_publication"
        assert [name for (name,) in old.execute(remaining) if "_users_" in name] == []
    assert "under way" in shop.peel("users", "test_lost", "--rollback").stderr
