"""Commands: databases, migrations, and what handlers gave up on."""

from concurrent.futures import ThreadPoolExecutor
from io import StringIO

import psycopg
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from config.management.commands.migrate import TURN
from shop.audit import trail
from shop.database import rows
from shop.engine import run_until_idle
from tests.shop.post import READER, hurry, inbox_rows, listen, note, notes, send
from tests.shop.server import name_of, superuser
from tests.threads import elsewhere, eventually

ALIASES = settings.CONTEXTS


def run(*arguments, **options):
    out = StringIO()
    call_command(*arguments, stdout=out, **options)
    return out.getvalue()


def connect(role, database):
    server = settings.DATABASES[role]
    return psycopg.connect(
        host=server["HOST"], port=server["PORT"] or None, user=server["USER"], password=server["PASSWORD"],
        dbname=name_of(database),
    )  # fmt: skip


def test_the_databases_can_be_made_again():
    assert run("databases") == ""


def test_a_server_that_lets_nobody_create_is_said_to(settings):
    nobody = settings.DATABASES["orders"]
    settings.DATABASE_SERVER = settings.DATABASE_SERVER | {"USER": nobody["USER"], "PASSWORD": nobody["PASSWORD"]}
    with pytest.raises(CommandError, match="The server of DATABASE_URL: "):
        run("databases")


@pytest.mark.parametrize("alias", ALIASES)
def test_a_role_reaches_its_own_database(alias):
    with connect(alias, alias) as connection:
        assert connection.execute("SELECT current_user = current_database()").fetchone() == (True,)


@pytest.mark.parametrize("alias", ALIASES)
def test_a_role_reaches_no_other_database(alias):
    for other in set(ALIASES) - {alias}:
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            connect(alias, other)


@pytest.mark.parametrize("alias", ALIASES)
def test_a_role_has_no_power_over_the_server(alias):
    sql = "SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls FROM pg_roles WHERE rolname = %s"
    assert superuser(sql, [name_of(alias)]) == [(False,) * 5]


def test_each_role_has_a_password_of_its_own():
    passwords = {settings.DATABASES[alias]["PASSWORD"] for alias in ALIASES}
    assert len(passwords) == len(ALIASES)
    assert all(len(password) == 64 for password in passwords)


def test_migrate_is_on_every_alias_and_again_changes_nothing():
    said = run("migrate", verbosity=1)
    assert all(alias in said for alias in ALIASES)
    assert said.count("No migrations to apply") == len(ALIASES)


def test_migrate_may_name_one_alias():
    assert run("migrate", database="orders", verbosity=1).count("No migrations to apply") == 1


def turns(alias):
    """Whether each session that has or wants the turn has it."""
    asked = "SELECT granted FROM pg_locks l JOIN pg_database d ON d.oid = l.database WHERE objid = %s AND datname = %s"
    return sorted(granted for (granted,) in superuser(asked, [TURN, name_of(alias)]))


def test_two_who_migrate_a_database_take_turns():
    with connect("orders", "orders") as first, ThreadPoolExecutor(1) as pool:
        first.execute("SELECT pg_advisory_lock(%s)", [TURN])
        second = pool.submit(elsewhere, lambda: run("migrate", database="orders", verbosity=1))
        eventually(lambda: turns("orders") == [False, True])
        assert not second.done()
        first.execute("SELECT pg_advisory_unlock(%s)", [TURN])
        assert second.result(30).count("No migrations to apply") == 1
    assert turns("orders") == [], "it gave its turn back"


@pytest.mark.parametrize("alias", ALIASES)
def test_the_kernels_tables_are_in_every_database(alias):
    found = {name for (name,) in rows(alias, "SELECT tablename FROM pg_tables WHERE tablename LIKE 'shop_%%'")}
    books = {"shop_outboxevent", "shop_delivery", "shop_inboxrow", "shop_idempotencykey", "shop_auditentry"}
    assert found == books | {"shop_callcount"}


@pytest.fixture
def parked(letter):
    """A parked event, with another one of its stream behind it."""

    def choke(event):
        if event.text == "poison":
            raise ValueError("cannot read this")
        note(event.letter_id, event.text)

    listen(choke)
    send(letter, "poison", "after")
    for _ in range(5):
        hurry(letter)
        run_until_idle()
    return inbox_rows(letter)[0]


def test_what_is_parked_is_listed_with_its_reason(parked):
    line = f"orders {parked.pk} orders.choke {parked.stream}#1 ValueError('cannot read this')"
    assert line in run("events", "parked").splitlines()


def test_a_discard_lets_the_stream_go_on_and_is_audited(letter, parked):
    run("events", "discard", READER, str(parked.pk), "--reason", "nobody misses it")
    run_until_idle()
    assert notes(letter) == ["after"]
    [entry] = trail(READER, "inboxrow", parked.pk)
    assert (entry.actor, entry.action, entry.detail) == ("command line", "discard event", {"reason": "nobody misses it"})


def test_what_is_not_parked_cannot_be_discarded(letter, parked):
    waiting = inbox_rows(letter)[1]
    with pytest.raises(CommandError, match="Only a parked event"):
        run("events", "discard", READER, str(waiting.pk), "--reason", "x")
    assert trail(READER, "inboxrow", waiting.pk) == []


def test_a_discard_needs_a_reason(parked):
    with pytest.raises(CommandError, match="--reason"):
        run("events", "discard", READER, str(parked.pk))


def test_a_replay_takes_the_parked_one(letter, parked):
    waiting = inbox_rows(letter)[1]
    assert run("events", "replay", READER, str(parked.pk), str(waiting.pk)) == "1 of 2 will run again\n"
    assert inbox_rows(letter)[0].parked_at is None


def test_a_replay_without_ids_takes_all_that_are_parked(letter, parked):
    run("events", "replay", READER)
    assert inbox_rows(letter)[0].parked_at is None


def test_an_unknown_context_is_refused():
    with pytest.raises(CommandError, match="invalid choice"):
        run("events", "replay", "warehouse")
