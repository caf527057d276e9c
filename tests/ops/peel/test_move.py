"""A move of a database while orders run loses and doubles nothing, forward and back, wherever it is interrupted."""

import re
import signal

import psycopg
import pytest

from ops.peel.directory import connect_as_administrator
from shop.db.postgres.urls import parse_postgres_url
from tests.concurrency import eventually
from tests.ops.peel.moves import assert_nothing_lost, await_sales, binding_of, connect_to_directory, database_url_of
from tests.ops.peel.moving_shop import PREFIX, Buyers, MovingShop


def test_payments_moves_and_returns_while_customers_buy(shop, customer):
    with Buyers(customer) as buyers:
        await_sales(buyers)
        plan = eventually(
            lambda: "ms after" in (output := shop.peel("payments", "test_there_and_back", "--plan").stdout) and output
        )
        assert re.search(
            r"orders calls authorize of payments: \d+ a minute, \d+\.\d ms now, about \d+\.\d ms after the move", plan
        )
        moved = shop.peel("payments", "test_there_and_back")
        assert moved.returncode == 0, moved.stderr
        assert binding_of(shop, "payments") == (2, "test_there_and_back", False)
        await_sales(buyers)
        back = shop.peel("payments", "test_there_and_back", "--rollback")
        assert back.returncode == 0, back.stderr
        assert binding_of(shop, "payments") == (3, f"{PREFIX}_payments", False)
        await_sales(buyers)
    assert all("writes were blocked for" in done.stdout for done in (moved, back))
    assert_nothing_lost(shop, buyers)


def test_audit_rows_move_and_return_and_no_role_can_change_them(shop):
    def create_staff(email: str) -> None:
        assert shop.manage("create_staff", "--email", email, "--permissions", "*").returncode == 0

    create_staff("before@example.com")
    assert shop.peel("users", "test_audited").returncode == 0
    create_staff("after@example.com")
    moved = read_audit_rows(shop, "users", f"{PREFIX}_users_{binding_of(shop, 'users')[0]}")
    back = shop.peel("users", "test_audited", "--rollback")
    assert back.returncode == 0, back.stderr
    create_staff("back@example.com")
    returned = read_audit_rows(shop, "users", f"{PREFIX}_users")
    assert len(moved) >= 2 and returned[: len(moved)] == moved and len(returned) > len(moved)


def read_audit_rows(shop: MovingShop, context: str, role: str) -> list[tuple]:
    """Read the audit rows where a context is, as its role, which cannot delete them."""
    assert "config.W007" not in shop.manage("check", "--database", context).stderr
    with connect_as_administrator(parse_postgres_url("where", database_url_of(shop, context))) as database:
        database.execute(f"SET ROLE {role}")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            database.execute("DELETE FROM shop_auditentry")
        return database.execute("SELECT id, at, actor, action, object_id FROM shop_auditentry ORDER BY id").fetchall()


def test_obstacles_are_reported_and_nothing_is_changed(shop):
    with connect_as_administrator(parse_postgres_url("new", shop.new_database_url("postgres"))) as new:
        new.execute("CREATE DATABASE test_occupied")
    with connect_as_administrator(parse_postgres_url("new", shop.new_database_url("test_occupied"))) as new:
        new.execute("CREATE TABLE unrelated (id int)")
    done = shop.peel("users", "test_occupied", "--plan")
    assert "users calls" not in done.stdout
    assert re.search(r"orders calls \w+ of users: ", done.stdout)
    assert "users publishes users.user_registered for notifications" in done.stdout
    assert "test_occupied on the new server is not empty" in done.stderr
    assert shop.peel("users", "test_occupied").returncode == 1
    with (
        pytest.raises(psycopg.Error),
        connect_as_administrator(parse_postgres_url("new", shop.new_database_url("test_never_came"))),
    ):
        pass
    assert shop.peel("users", "test_never_came", "--plan").returncode == 0
    nothing = shop.peel("users", "test_never_came", "--rollback")
    assert "No move of users is under way" in nothing.stderr


def test_only_one_move_of_a_context_runs_at_a_time(shop):
    first = connect_to_directory(shop)
    try:
        assert first.execute("SELECT pg_try_advisory_lock(hashtext('peel users'))").fetchone() == (True,)
        second = shop.peel("users", "test_two", "--plan")
        assert "Another command is moving users" in second.stderr
    finally:
        first.close()
    assert shop.peel("users", "test_two", "--plan").returncode == 0


@pytest.mark.parametrize("option", ["--at", "--shop-at", "--write"])
def test_a_wrong_option_is_refused_before_anything_moves(shop, option, tmp_path):
    (tmp_path / "file").touch()
    done = shop.peel("users", "test_refused", option, str(tmp_path / "file" / "folder"))
    assert done.returncode == 1
    assert "not valid: use <host>:<port>" in done.stderr or "--write: " in done.stderr
    assert "No move of users is under way" in shop.peel("users", "test_refused", "--rollback").stderr


def test_an_interrupted_move_reports_how_to_continue(shop):
    users = parse_postgres_url("old", database_url_of(shop, "users"))
    with connect_as_administrator(users) as writer, connect_as_administrator(users) as observer:
        writer.execute("BEGIN; CREATE TABLE unfinished (id int)")  # replication begins only when this has ended
        process = shop.start_to_peel("users", "test_interrupted")
        waiting = "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_create_logical_replication_slot%'"
        eventually(lambda: observer.execute(waiting).fetchone() or process.poll() is not None)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=30)
        writer.execute("ROLLBACK")
    assert (process.returncode, output) == (130, "")
    assert errors == "CommandError: Interrupted. The same command continues.\n"
    moved = shop.peel("users", "test_interrupted")
    assert moved.returncode == 0, moved.stderr
    assert shop.peel("users", "test_interrupted", "--rollback").returncode == 0
