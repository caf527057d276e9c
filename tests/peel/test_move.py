"""A context's database moves while the shop sells: nothing is lost or doubled, there, back, and wherever it is cut off."""

import json
import re
import signal

import psycopg
import pytest
from django.conf import settings

from config.directory import administrator
from config.settings import postgres
from tests.peel.moving import PREFIX, Buyers, MovingShop
from tests.threads import eventually

CUTS = [  # points at which the command is killed, in the order in which it comes to them
    "made.before", "made.after", "copied.after", "mirrored.after", "fence.before", "fence.after", "drain.after", "decide.after",
    "open.after", "moved.after", "verified.after",
]  # fmt: skip
RETURNS = ["fence.after", "decide.after", "open.after"]


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    shop = MovingShop(tmp_path_factory.mktemp("peel"))
    try:
        shop.start()
        yield shop
    finally:
        shop.end()


@pytest.fixture(scope="module")
def customer(shop):
    return shop.serve()


def at_rest(shop) -> dict:
    """What `verify` says once all is handled."""
    return eventually(
        lambda: (found := json.loads(shop.manage("verify", "--at-rest", "--json").stdout))["violations"] == [] and found,
        patience=30,
    )


def sells(buyers: Buyers, more: int = 5) -> None:
    """The buyers get on."""
    before = len(buyers.orders)
    eventually(lambda: len(buyers.orders) >= before + more, patience=20)


def nothing_is_lost(shop: MovingShop, buyers: Buyers) -> None:
    assert buyers.broken == []
    assert len(set(buyers.orders.values())) == len(buyers.orders)
    with administrator(postgres("where", place_of(shop, "orders"))) as orders:
        kept = orders.execute("SELECT count(*) FROM orders_order WHERE id = ANY(%s)", [list(buyers.orders.values())])
        assert kept.fetchone() == (len(buyers.orders),)
    at_rest(shop)


def directory_of(shop: MovingShop) -> psycopg.Connection:
    return administrator(postgres("old", shop.old.url), f"{PREFIX}_directory")


def place_of(shop: MovingShop, context: str) -> str:
    """The address of a context's database, for an administrator."""
    _, database, _ = where(shop, context) or (1, f"{PREFIX}_{context}", False)
    server = shop.old if database.startswith(PREFIX) else shop.new
    return server.url.replace("/postgres?", f"/{database}?")


def where(shop: MovingShop, context: str) -> tuple:
    """Epoch and database of a context, by the record."""
    with directory_of(shop) as directory:
        return directory.execute("SELECT epoch, dbname, moving FROM binding WHERE context = %s", [context]).fetchone()


def test_payments_moves_and_comes_back_while_customers_buy(shop, customer):
    with Buyers(customer) as buyers:
        sells(buyers)
        plan = eventually(lambda: "ms then" in (said := shop.peel("payments", "test_there_and_back", "--plan").stdout) and said)
        assert re.search(r"orders asks payments to authorize: \d+ a minute, \d+\.\d ms now, about \d+\.\d ms then", plan)
        moved = shop.peel("payments", "test_there_and_back")
        assert moved.returncode == 0, moved.stderr
        assert where(shop, "payments") == (2, "test_there_and_back", False)
        sells(buyers)
        back = shop.peel("payments", "test_there_and_back", "--rollback")
        assert back.returncode == 0, back.stderr
        assert where(shop, "payments") == (3, f"{PREFIX}_payments", False)
        sells(buyers)
    assert all("nobody could write for" in done.stdout for done in (moved, back))
    nothing_is_lost(shop, buyers)


def may_log_in(shop: MovingShop, context: str, database: str) -> bool:
    """Whether a process of the context that was configured for the new database could use it."""
    server = postgres("new", shop.to(database)) | {
        "USER": f"{PREFIX}_{context}_2", "PASSWORD": settings.DATABASES[context]["PASSWORD"],
    }  # fmt: skip
    try:
        administrator(server).close()
    except psycopg.OperationalError:
        return False
    return True


def killed_at(shop: MovingShop, point: str, context: str, database: str, *options: str) -> None:
    done = shop.peel(context, database, *options, CHAOS=f"peel.{point}:1:kill")
    assert done.returncode == -signal.SIGKILL, f"{point}: {done.stdout}{done.stderr}"


def test_a_move_that_is_killed_again_and_again_goes_on_where_it_was(shop, customer):
    context = "orders"
    with Buyers(customer) as buyers:
        for point in CUTS:
            killed_at(shop, point, context, "test_again")
            if point == "mirrored.after":
                assert not may_log_in(shop, context, "test_again"), "it could be written to before the cut"
        ended = shop.peel(context, "test_again")
        assert ended.returncode == 0, ended.stderr
        sells(buyers)
        finished = shop.peel(context, "test_again", "--finish")
        assert finished.returncode == 0, finished.stderr
        sells(buyers)
    assert where(shop, context) == (2, "test_again", False)
    nothing_is_lost(shop, buyers)


@pytest.mark.parametrize("point", ["copied.after", "fence.after", "decide.after"])
def test_a_move_that_is_killed_can_be_taken_back(shop, customer, point):
    database = f"test_cut_at_{point.partition('.')[0]}"
    before = where(shop, "users")
    with Buyers(customer) as buyers:
        killed_at(shop, point, "users", database)
        for cut in RETURNS if point == "decide.after" else ():
            killed_at(shop, cut, "users", database, "--rollback")
            onward = shop.peel("users", database)
            assert "is on its way back" in onward.stderr
            assert shop.peel("users", database, "--finish").returncode == 1
        back = shop.peel("users", database, "--rollback")
        assert back.returncode == 0, back.stderr
        sells(buyers)
    epoch, at, moving = where(shop, "users")
    assert (at, moving) == (f"{PREFIX}_users", False)
    assert before is None or epoch >= before[0]
    nothing_is_lost(shop, buyers)


def test_copies_that_differ_send_everybody_back(shop, customer):
    with Buyers(customer) as buyers:
        sells(buyers)
    killed_at(shop, "copied.after", "notifications", "test_different")
    with administrator(postgres("new", shop.to("test_different"))) as new:
        planted = "UPDATE shop_inboxrow SET sequence = sequence + 1000 WHERE id = (SELECT min(id) FROM shop_inboxrow)"
        assert new.execute(planted).rowcount == 1
    done = shop.peel("notifications", "test_different")
    assert done.returncode == 1
    assert "Not the same at the cut, so all are back where they were: shop_inboxrow" in done.stderr
    assert where(shop, "notifications")[1:] == (f"{PREFIX}_notifications", False)
    at_rest(shop)


def test_what_stands_in_the_way_is_said_and_nothing_is_changed(shop):
    with administrator(postgres("new", shop.to("postgres"))) as new:
        new.execute("CREATE DATABASE test_occupied")
    with administrator(postgres("new", shop.to("test_occupied"))) as new:
        new.execute("CREATE TABLE somebodys (id int)")
    done = shop.peel("users", "test_occupied", "--plan")
    assert "users asks" not in done.stdout
    assert "orders asks users to" in done.stdout
    assert "users tells notifications of users.user_registered" in done.stdout
    assert "test_occupied on the new server is not empty" in done.stderr
    assert shop.peel("users", "test_occupied").returncode == 1
    with pytest.raises(psycopg.Error), administrator(postgres("new", shop.to("test_never_came"))):
        pass
    assert shop.peel("users", "test_never_came", "--plan").returncode == 0
    nothing = shop.peel("users", "test_never_came", "--rollback")
    assert "No move of users is under way" in nothing.stderr


def test_one_at_a_time_moves_a_context(shop):
    first = directory_of(shop)
    try:
        assert first.execute("SELECT pg_try_advisory_lock(hashtext('peel users'))").fetchone() == (True,)
        second = shop.peel("users", "test_two", "--plan")
        assert "Somebody else is moving users" in second.stderr
    finally:
        first.close()
    assert shop.peel("users", "test_two", "--plan").returncode == 0


def test_a_migration_meanwhile_is_noticed(shop):
    killed_at(shop, "copied.after", "users", "test_migrated")
    with administrator(postgres("old", place_of(shop, "users"))) as old:
        old.execute("INSERT INTO django_migrations (app, name, applied) VALUES ('users', '9999_later', now())")
        try:
            later = shop.peel("users", "test_migrated")
        finally:
            old.execute("DELETE FROM django_migrations WHERE name = '9999_later'")
    assert "One side has been migrated" in later.stderr
    assert shop.peel("users", "test_migrated", "--rollback").returncode == 0
    assert where(shop, "users")[2] is False


def test_what_has_moved_stays_moved(shop, customer):
    """Nobody makes the place that it has left anew, or takes it for the one where it is."""
    moved = shop.peel("payments", "test_for_good")
    assert moved.returncode == 0, moved.stderr
    assert shop.peel("payments", "test_for_good", "--finish").returncode == 0
    with administrator(postgres("old", shop.old.url)) as server:
        server.execute(f"DROP DATABASE {PREFIX}_payments WITH (FORCE)")
        server.execute(f"DROP ROLE {PREFIX}_payments")
    assert "payments has moved: test_for_good" in shop.manage("databases").stdout
    with administrator(postgres("old", shop.old.url)) as server:
        assert not server.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [f"{PREFIX}_payments"]).fetchone()
    onward = shop.peel("payments", "test_elsewhere", "--plan")
    assert "--from has to name it" in onward.stderr
    with administrator(postgres("new", shop.to("postgres"))) as new:
        kept = f"SELECT rolpassword FROM pg_authid WHERE rolname = '{PREFIX}_payments_{where(shop, 'payments')[0]}'"
        before = new.execute(kept).fetchone()
        assert "payments is in test_for_good" in shop.peel("payments", "test_elsewhere", "--password").stderr
        assert new.execute(kept).fetchone() == before
        assert shop.peel("payments", "test_for_good", "--password").returncode == 0
        assert new.execute(kept).fetchone() != before
    wrong = shop.peel("payments", "test_elsewhere", "--plan", "--from", shop.old.url)
    assert "is not where --from leads" in wrong.stderr
    with Buyers(customer) as buyers:
        sells(buyers)
    nothing_is_lost(shop, buyers)


def test_a_new_server_that_is_gone_for_good_is_no_obstacle(shop, customer):
    killed_at(shop, "copied.after", "users", "test_lost")
    shop.new.stop()
    try:
        back = shop.peel("users", "test_lost", "--rollback")
    finally:
        shop.new.start()
    assert back.returncode == 0, back.stderr
    assert "left behind at the new server, in test_lost" in back.stdout
    with administrator(postgres("old", place_of(shop, "users"))) as old:
        left = "SELECT slot_name FROM pg_replication_slots UNION SELECT pubname FROM pg_publication"
        assert [name for (name,) in old.execute(left) if "_users_" in name] == []
    assert "under way" in shop.peel("users", "test_lost", "--rollback").stderr
