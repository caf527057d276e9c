"""Commands: databases, migrations, parked events, and the soak test."""

import os
from concurrent.futures import ThreadPoolExecutor
from io import StringIO

import psycopg
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from ops.management.commands.migrate import MIGRATION_LOCK_ID
from shop.audit import list_object_history
from shop.db.database import execute, fetch_rows
from shop.messaging.engine import run_until_idle
from tests.concurrency import eventually, run_in_thread
from tests.ports import reserve_port
from tests.shop.db.superuser_session import database_name, execute_as_superuser, open_superuser_session
from tests.shop.messaging.letters import (
    SUBSCRIBER,
    inbox_rows,
    make_all_due,
    publish_letters,
    record_effect,
    recorded_effects,
    register_handler,
)
from tests.staff_accounts import sign_in_to_admin

ALIASES = settings.CONTEXTS


def run(*arguments, **options):
    out = StringIO()
    call_command(*arguments, stdout=out, **options)
    return out.getvalue()


def connect(role, database):
    server = settings.DATABASES[role]
    return psycopg.connect(
        host=server["HOST"], port=server["PORT"] or None, user=server["USER"], password=server["PASSWORD"],
        dbname=database_name(database),
    )  # fmt: skip


def test_creating_the_databases_again_changes_nothing():
    assert run("databases") == ""


def test_a_server_that_denies_creation_is_reported(settings):
    role = settings.DATABASES["orders"]
    settings.DATABASE_SERVER = settings.DATABASE_SERVER | {"USER": role["USER"], "PASSWORD": role["PASSWORD"]}
    with pytest.raises(CommandError, match="The server of DATABASE_URL refused: "):
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
    assert execute_as_superuser(sql, [database_name(alias)]) == [(False,) * 5]


def test_each_role_has_a_password_of_its_own():
    passwords = {settings.DATABASES[alias]["PASSWORD"] for alias in ALIASES}
    assert len(passwords) == len(ALIASES)
    assert all(len(password) == 64 for password in passwords)


def test_migrate_covers_every_alias_and_a_repeat_changes_nothing():
    output = run("migrate", verbosity=1)
    assert all(alias in output for alias in ALIASES)
    assert output.count("No migrations to apply") == len(ALIASES)


def test_migrate_may_name_one_alias():
    assert run("migrate", database="orders", verbosity=1).count("No migrations to apply") == 1


def read_migration_locks(alias):
    """Return, for each session that holds or awaits the migration lock, whether it holds it."""
    statement = (
        "SELECT granted FROM pg_locks l JOIN pg_database d ON d.oid = l.database WHERE objid = %s AND datname = %s"
    )
    return sorted(granted for (granted,) in execute_as_superuser(statement, [MIGRATION_LOCK_ID, database_name(alias)]))


def test_concurrent_migrations_of_a_database_wait_for_each_other():
    polls = "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND query LIKE 'SELECT pg_try_advisory_lock%%'"
    with ThreadPoolExecutor(1) as pool, connect("orders", "orders") as first:
        first.execute("SELECT pg_advisory_lock(%s)", [MIGRATION_LOCK_ID])
        second = pool.submit(run_in_thread, lambda: run("migrate", database="orders", verbosity=1))
        eventually(lambda: execute_as_superuser(polls, [database_name("orders")]))
        assert read_migration_locks("orders") == [True]
        assert not second.done()
        first.execute("SELECT pg_advisory_unlock(%s)", [MIGRATION_LOCK_ID])
        assert second.result(30).count("No migrations to apply") == 1
    assert read_migration_locks("orders") == [], "the lock is still held"


def test_a_migration_that_does_not_get_its_lock_gives_up_in_plain_words():
    with open_superuser_session(database_name("users")) as blocker:
        blocker.execute("LOCK TABLE django_migrations IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(
            CommandError, match=r"^The migration of users gave up: canceling statement due to lock timeout"
        ):
            run("migrate", database="users")
    assert read_migration_locks("users") == [], "the lock is still held"
    assert "No migrations to apply" in run("migrate", database="users", verbosity=1)


@pytest.mark.parametrize(
    "arguments",
    [
        ["manage.py", "migrate"],
        ["manage.py", "events", "parked"],
        ["manage.py", "currency"],
        ["-m", "ops.launch.prepare"],
    ],
)
def test_a_database_that_is_unavailable_is_reported_without_a_traceback(preloaded_python, arguments):
    nowhere = f"postgres://nobody:secret@127.0.0.1:{reserve_port()}/postgres"
    done = preloaded_python.run(*arguments, environment=os.environ | {"DATABASE_URL": nowhere})
    assert done.returncode == 1
    assert "onnection" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("alias", ALIASES)
def test_the_kernels_tables_are_in_every_database(alias):
    found = {name for (name,) in fetch_rows(alias, "SELECT tablename FROM pg_tables WHERE tablename LIKE 'shop_%%'")}
    messaging = {"shop_outboxevent", "shop_delivery", "shop_inboxrow", "shop_idempotencykey", "shop_auditentry"}
    assert found == messaging | {"shop_callcount", "shop_ratelimit", "shop_batchjob", "shop_receivedcall", "shop_purge"}


@pytest.fixture
def parked(letter):
    """Park an event that has another one of its stream behind it."""

    def choke(event):
        if event.text == "poison":
            raise ValueError("cannot read this")
        record_effect(event.letter_id, event.text)

    register_handler(choke)
    publish_letters(letter, "poison", "after")
    for _ in range(5):
        make_all_due(letter)
        run_until_idle()
    return inbox_rows(letter)[0]


def test_parked_events_are_listed_with_their_reason(parked):
    event = f"{parked.name} version {parked.envelope['version']} {parked.stream}#1"
    line = f"orders {parked.pk} orders.choke {event} ValueError('cannot read this')"
    assert line in run("events", "parked").splitlines()


@pytest.fixture
def many_parked(parked):
    """100 more parked events, which were parked later."""
    execute(
        SUBSCRIBER,
        """INSERT INTO shop_inboxrow (event_id, handler, ordered, name, stream, sequence, envelope, parked_at, attempt)
           SELECT gen_random_uuid(), handler, ordered, name, stream || '-copy', number, envelope, now(), attempt
           FROM shop_inboxrow, generate_series(1, 100) AS number WHERE id = %s""",
        [parked.pk],
    )
    yield parked
    execute(SUBSCRIBER, "DELETE FROM shop_inboxrow WHERE stream = %s", [f"{parked.stream}-copy"])


def test_more_parked_events_than_a_page_shows_are_announced_and_listed_by_the_command(many_parked, in_one_process):
    page = sign_in_to_admin(f"{SUBSCRIBER}.view").get("/admin/events/").content.decode()
    assert f"More than 100 events of {SUBSCRIBER} are parked" in page
    assert sum(f"{many_parked.stream}-copy#" in line for line in run("events", "parked").splitlines()) == 100


def test_a_discard_unblocks_the_stream_and_is_audited(letter, parked):
    run("events", "discard", SUBSCRIBER, str(parked.pk), "--reason", "not needed any more")
    run_until_idle()
    assert recorded_effects(letter) == ["after"]
    [entry] = list_object_history(SUBSCRIBER, "inboxrow", parked.pk)
    assert (entry.actor, entry.action, entry.detail) == (
        "command line",
        "discard event",
        {"reason": "not needed any more"},
    )


def test_only_a_parked_event_can_be_discarded(letter, parked):
    waiting = inbox_rows(letter)[1]
    with pytest.raises(CommandError, match="Only a parked event"):
        run("events", "discard", SUBSCRIBER, str(waiting.pk), "--reason", "x")
    assert list_object_history(SUBSCRIBER, "inboxrow", waiting.pk) == []


def test_a_discard_needs_a_reason(parked):
    with pytest.raises(CommandError, match="--reason"):
        run("events", "discard", SUBSCRIBER, str(parked.pk))


def test_a_replay_affects_parked_events_only(letter, parked):
    waiting = inbox_rows(letter)[1]
    assert (
        run("events", "replay", SUBSCRIBER, str(parked.pk), str(waiting.pk))
        == "1 of 2 events will be processed again\n"
    )
    assert inbox_rows(letter)[0].parked_at is None


def test_a_replay_without_ids_affects_all_parked_events(letter, parked):
    run("events", "replay", SUBSCRIBER)
    assert inbox_rows(letter)[0].parked_at is None


def test_a_soak_test_without_the_test_suite_is_reported(settings, tmp_path):
    settings.BASE_DIR = tmp_path
    with pytest.raises(CommandError, match=r"The soak test is not installed here: .* Run the command in a checkout"):
        run("chaos", "run")


def test_the_options_of_a_soak_test_are_passed_on(capfd):
    with pytest.raises(CommandError, match="The soak test failed"):
        run("chaos", "run", "--orders", "0", "--mode=split")
    assert "0 is not a number greater than 0" in capfd.readouterr().err


def test_an_unknown_context_is_refused():
    with pytest.raises(CommandError, match="invalid choice"):
        run("events", "replay", "warehouse")
