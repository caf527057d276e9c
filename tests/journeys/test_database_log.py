"""No personal data and no hash gets into the log of the database server, whatever fails and however much the server logs."""

import itertools
import os
import threading
import uuid
from contextlib import closing
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
from django.conf import settings

from ops.launch.postgres import PostgresServer
from shop.db.postgres.log_settings import ROLE_LOG_SETTINGS
from tests.concurrency import eventually
from tests.journeys.running_shop import RunningShop
from tests.ops.launch.test_up import find_available_sku
from tests.preloaded_python import PreloadedPython
from tests.shopper import ADDRESS, PASSWORD, Shopper

# A server that is set up to log as much as it can, in all of its formats.
TALKATIVE = (
    "-c logging_collector=on -c log_destination=stderr,csvlog,jsonlog -c log_statement=all -c log_min_duration_statement=0 "
    "-c log_min_error_statement=debug5 -c log_min_messages=debug1 -c log_error_verbosity=verbose -c log_lock_waits=on "
    "-c log_parameter_max_length=-1 -c log_parameter_max_length_on_error=-1 -c log_temp_files=0 -c deadlock_timeout=100ms "
    "-c log_transaction_sample_rate=1 -c debug_print_plan=on"
)
MARK = "canary"


class Server:
    """A database server with a log, and the shop's databases on it."""

    def __init__(self, folder: Path, python: PreloadedPython) -> None:
        self.python = python
        self.postgres = PostgresServer(folder, durable=False, options=TALKATIVE)
        self.postgres.start()
        self.environment = {"DATABASE_URL": self.postgres.url}
        self.host = parse_qs(urlsplit(self.postgres.url).query)["host"][0]
        for command in (["databases"], ["migrate", "-v0"], ["seed_catalogue"]):
            self.manage(*command)

    def manage(self, *command: str) -> None:
        done = self.python.run("manage.py", *command, environment=os.environ | self.environment)
        assert done.returncode == 0, done.stderr

    def connect(self, context: str) -> psycopg.Connection:
        """Open a session of a context's role."""
        role = settings.DATABASES[context]
        return psycopg.connect(
            host=self.host, dbname=role["NAME"], user=role["USER"], password=role["PASSWORD"], autocommit=True
        )

    def administrate(self, sql: str, *parameters: str, database: str = "postgres") -> list[tuple]:
        with psycopg.connect(self.postgres.url, dbname=database, autocommit=True) as connection:
            cursor = connection.execute(sql, parameters or None)
            return cursor.fetchall() if cursor.description else []

    def read_log(self) -> str:
        """Return everything that the server has logged up to now, in all formats."""
        marker = f"marker {uuid.uuid4().hex}"
        self.administrate(f"DO $$ BEGIN RAISE WARNING '{marker}'; END $$")
        eventually(lambda: all(marker in text for text in self._read_formats()))
        return "".join(self._read_formats())

    def _read_formats(self) -> list[str]:
        folder = self.postgres.data_folder / "log"
        return ["".join(file.read_text() for file in folder.glob(f"*{suffix}")) for suffix in (".log", ".csv", ".json")]


@pytest.fixture(scope="module")
def server(tmp_path_factory, preloaded_python):
    server = Server(tmp_path_factory.mktemp("talkative"), preloaded_python)
    yield server
    server.postgres.stop()


def new_canary() -> str:
    return f"{MARK}-{uuid.uuid4().hex[:12]}@example.com"


@pytest.fixture
def canary():
    return new_canary()


# --- Statements that fail with personal data in them


def break_unique(server: Server, canary: str) -> None:
    with closing(server.connect("users")) as session:
        insert_user(session, canary)
        insert_user(session, canary)


def insert_user(session: psycopg.Connection, email: str) -> None:
    sql = f"""INSERT INTO users_user (id, email, full_name, password, is_active, permissions, sequence)
              VALUES (gen_random_uuid(), '{email}', 'Ada Buyer', '', true, '{{}}', 0)"""
    session.execute(sql.encode())


def break_check(server: Server, canary: str) -> None:
    with closing(server.connect("users")) as session:
        insert_user(session, canary.upper())


def time_out(server: Server, canary: str) -> None:
    with closing(server.connect("orders")) as session:
        session.execute("SET statement_timeout = '50ms'")
        session.execute(f"SELECT pg_sleep(60), '{canary}'")


def deadlock(server: Server, canary: str) -> None:
    """Update two rows in opposite orders; one of the sessions fails, after the lock wait has been logged."""
    with closing(server.connect("orders")) as one, closing(server.connect("orders")) as two:
        one.execute("CREATE TABLE IF NOT EXISTS canary_pair (id int PRIMARY KEY, email text)")
        one.execute("INSERT INTO canary_pair VALUES (1, ''), (2, '') ON CONFLICT DO NOTHING")
        update = f"UPDATE canary_pair SET email = '{canary}' WHERE id = %s"
        failures: list[Exception] = []
        for session, row in ((one, 1), (two, 2)):
            session.execute("BEGIN")
            session.execute(psycopg.ClientCursor(session).mogrify(update, [row]).encode())
        crossed = [threading.Thread(target=collect, args=[failures, s, update, row]) for s, row in ((one, 2), (two, 1))]
        for thread in crossed:
            thread.start()
        for thread in crossed:
            thread.join()
        raise failures[0]


def collect(failures: list[Exception], session: psycopg.Connection, update: str, row: int) -> None:
    try:
        session.execute(psycopg.ClientCursor(session).mogrify(update, [row]).encode())
        session.execute("COMMIT")
    except psycopg.Error as error:
        failures.append(error)
        session.execute("ROLLBACK")


def misspell(server: Server, canary: str) -> None:
    with closing(server.connect("orders")) as session:
        session.execute(f"SELECT 1 FROM x y z '{canary}'".encode())


def pass_an_invalid_value(server: Server, canary: str) -> None:
    with closing(server.connect("orders")) as session:
        session.execute(f"SELECT '{canary}'::uuid")


def bind_an_invalid_value(server: Server, canary: str) -> None:
    with closing(server.connect("orders")) as session:
        session.execute("SELECT %s::text::int", [canary])


def be_terminated(server: Server, canary: str) -> None:
    with closing(server.connect("orders")) as session:
        pid = session.info.backend_pid
        sleeping = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND wait_event = 'PgSleep'"
        killer = threading.Thread(
            target=lambda: (
                eventually(lambda: server.administrate(sleeping, str(pid))),
                server.administrate("SELECT pg_terminate_backend(%s::int)", str(pid)),
            )
        )
        killer.start()
        try:
            session.execute(f"SELECT pg_sleep(60), '{canary}'")
        finally:
            killer.join()


def run_with_success(server: Server, canary: str) -> None:
    """Write a temporary file, which is logged with its statement, and take time."""
    with closing(server.connect("orders")) as session:
        session.execute("SET work_mem = '64kB'")
        session.execute(f"SELECT count(*) FROM (SELECT '{canary}' || n FROM generate_series(1, 9999) n ORDER BY 1) x")


FAILURES = {
    "unique violation": (break_unique, psycopg.errors.UniqueViolation),
    "check violation": (break_check, psycopg.errors.CheckViolation),
    "time-out": (time_out, psycopg.errors.QueryCanceled),
    "deadlock": (deadlock, psycopg.errors.DeadlockDetected),
    "syntax": (misspell, psycopg.errors.SyntaxError),
    "invalid value": (pass_an_invalid_value, psycopg.errors.InvalidTextRepresentation),
    "invalid parameter": (bind_an_invalid_value, psycopg.errors.InvalidTextRepresentation),
    "terminated session": (be_terminated, psycopg.OperationalError),
    "a success that is slow": (run_with_success, None),
}


def fail(server: Server, name: str, canary: str) -> None:
    act, error = FAILURES[name]
    if error is None:
        act(server, canary)
    else:
        with pytest.raises(error):
            act(server, canary)


@pytest.mark.parametrize("name", FAILURES)
def test_a_statement_that_fails_leaves_no_value_in_the_log(server, name, canary):
    fail(server, name, canary)
    assert canary not in server.read_log().lower()


@pytest.fixture(scope="class")
def bare_server(server):
    """Reset the settings once for all tests of a class, since `databases` takes a second to set them again."""
    for context, owner in itertools.product(("orders", "users"), ("ROLE", "DATABASE")):
        server.administrate(f'ALTER {owner} "{settings.DATABASES[context]["NAME"]}" RESET ALL')
    yield server
    server.manage("databases")


class TestControlWithoutTheSettings:
    @pytest.mark.parametrize("name", FAILURES)
    def test_the_value_is_in_the_log(self, bare_server, name, canary):
        fail(bare_server, name, canary)
        assert canary in bare_server.read_log().lower()


def test_a_journey_with_refusals_leaves_no_personal_data_and_no_hash_in_any_log(server, canary, tmp_path):
    lines, name = tmp_path / "log", f"Canary {uuid.uuid4().hex[:12]}"
    with lines.open("w") as file, closing(RunningShop(file, LOG_LEVEL="DEBUG", **server.environment)) as shop:
        shopper = shop.shopper()
        travel(shopper, canary, name)
        shop.stop()
    [(password,)] = server.administrate(
        "SELECT password FROM users_user WHERE email = %s", canary, database=settings.DATABASES["users"]["NAME"]
    )
    for log in (server.read_log(), lines.read_text()):
        assert canary not in log and name not in log and password not in log
        assert "SCRAM-SHA-256$" not in log, "hash of the password of a role"


def travel(shopper: Shopper, email: str, name: str) -> None:
    """Register, twice, sign in, order, be declined, and be refused."""
    account = {"email": email, "password": PASSWORD, "full_name": name}
    assert shopper.post("auth/register", account).status == 201
    assert shopper.post("auth/register", account).status == 409
    assert shopper.post("auth/token", account | {"password": "wrong one here"}).status in (400, 401)
    shopper.token = shopper.post("auth/token", {"email": email, "password": PASSWORD}).body["access"]
    sku, address = find_available_sku(shopper), ADDRESS | {"name": name}
    assert shopper.order(sku, email=email, shipping_address=address).status == 201
    assert shopper.order(sku, email=email, shipping_address=address, token="tok_declined").status == 402
    key = uuid.uuid4().hex
    assert shopper.order(sku, email=email, key=key, shipping_address=address).status == 201
    assert shopper.order(sku, email=email, key=key, shipping_address=ADDRESS).status == 422
    assert shopper.get(f"products?search={email}").status == 200


def test_the_server_of_the_launcher_logs_no_statements_of_any_session(tmp_path, canary):
    postgres = PostgresServer(tmp_path, durable=False)
    postgres.start()
    try:
        with psycopg.connect(postgres.url, autocommit=True) as session:
            with pytest.raises(psycopg.errors.UndefinedTable):
                session.execute("SELECT %s::text FROM nowhere", [canary])
            session.execute("CREATE TABLE rows (email text UNIQUE)")
            session.execute("INSERT INTO rows VALUES (%s)", [canary])
            with pytest.raises(psycopg.errors.UniqueViolation):
                session.execute("INSERT INTO rows VALUES (%s)", [canary])
    finally:
        postgres.stop()
    log = postgres.log.read_text()
    assert 'relation "nowhere" does not exist' in log
    assert canary not in log


def test_every_role_and_database_has_the_settings(server):
    for context in settings.CONTEXTS:
        with closing(server.connect(context)) as session:
            for name in ("log_min_messages", "log_error_verbosity", "log_statement"):
                assert session.execute("SELECT current_setting(%s)", [name]).fetchone() == (ROLE_LOG_SETTINGS[name],)
