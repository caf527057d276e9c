"""A refused connection is tried again at the location that the directory records."""

import threading
from functools import partial

import psycopg
import pytest
from django.conf import settings

from ops.launch.postgres import PostgresServer
from ops.peel.directory import Directory
from shop.db.postgres import locations
from shop.db.postgres.locations import DatabaseLocation
from tests.concurrency import eventually

CONTEXT = "no_such_context"
HERE = DatabaseLocation(1, "here", "", "orders", "orders")
THERE = DatabaseLocation(2, "there", "5433", "moved", "orders_2")


class FakeServers:
    """Servers of which some accept the role. `tried` lists the hosts of all attempts."""

    def __init__(self, *accepting: str) -> None:
        self.accepting, self.tried = set(accepting), []

    def connect(self, **parameters: str) -> str:
        self.tried.append(parameters["host"])
        if parameters["host"] not in self.accepting:
            raise psycopg.OperationalError("role may not log in")
        return parameters["host"]


@pytest.fixture
def directory():
    """The directory, for records of a context that does not exist, so that no other connection is affected."""
    directory = Directory()
    yield directory
    directory.connection.execute("DELETE FROM binding WHERE context = %s", [CONTEXT])
    directory.connection.close()
    locations._locations.pop(CONTEXT, None)


def connect(servers: FakeServers) -> str:
    """Return the host to which a connection was opened."""
    return locations.connect(CONTEXT, servers.connect, {"host": HERE.host, "user": "orders"})


def test_an_accepted_connection_does_not_read_the_directory(directory):
    directory.save_location(CONTEXT, THERE)
    assert connect(FakeServers("here", "there")) == "here"


def test_a_refused_connection_follows_the_directory_and_caches_it(directory):
    directory.save_location(CONTEXT, THERE)
    servers = FakeServers("there")
    assert [connect(servers), connect(servers)] == ["there", "there"]
    assert servers.tried == ["here", "there", "there"]


def test_a_second_move_is_followed(directory):
    directory.save_location(CONTEXT, THERE)
    servers = FakeServers("there")
    connect(servers)
    directory.save_location(CONTEXT, DatabaseLocation(3, "elsewhere", "", "moved", "orders_3"))
    servers.accepting = {"elsewhere"}
    assert connect(servers) == "elsewhere"


def test_connections_wait_during_a_move(directory):
    directory.save_location(CONTEXT, HERE._replace(moving=True))
    servers, hosts = FakeServers(), []
    waiting = threading.Thread(target=lambda: hosts.append(connect(servers)))
    waiting.start()
    eventually(lambda: len(servers.tried) > 3)
    directory.save_location(CONTEXT, THERE)
    servers.accepting = {"there"}
    waiting.join(locations.MOVE_TIMEOUT_SECONDS)
    assert hosts == ["there"]


@pytest.mark.parametrize("location", [None, THERE])
def test_a_refusal_at_every_location_is_raised(directory, location):
    if location:
        directory.save_location(CONTEXT, location)
    servers = FakeServers()
    with pytest.raises(psycopg.OperationalError, match="may not log in"):
        connect(servers)
    servers.accepting = {"here"}
    assert connect(servers) == "here"  # it was an outage and not a move


def test_without_a_directory_a_refusal_is_raised(settings):
    settings.DIRECTORY = settings.DIRECTORY | {"NAME": "there_is_none"}
    with pytest.raises(psycopg.OperationalError, match="may not log in"):
        connect(FakeServers())


def test_a_context_can_read_the_directory_and_no_more(directory):
    own = settings.DIRECTORY
    connect_as_context = partial(
        psycopg.connect, host=own["HOST"], port=own["PORT"] or None, dbname=own["NAME"], user=own["USER"]
    )
    with connect_as_context(password=own["PASSWORD"], autocommit=True) as reader:
        for statement in ("UPDATE binding SET host = 'mine'", "SELECT * FROM move", "CREATE TABLE mine (id int)"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                reader.execute(statement)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A PostgreSQL that asks for passwords."""
    folder = tmp_path_factory.mktemp("passwords")
    server = PostgresServer(folder, durable=False)
    server.start()
    try:
        (server.data_folder / "pg_hba.conf").write_text("local all postgres trust\nlocal all all scram-sha-256\n")
        with psycopg.connect(server.url, autocommit=True) as administrator:
            administrator.execute("CREATE ROLE orders LOGIN PASSWORD 'former'")
            administrator.execute("SELECT pg_reload_conf()")
        yield server
    finally:
        server.stop()


def connect_with(server: PostgresServer, password: str, *former: str) -> str:
    """Return the user of a connection that was opened with one of these passwords."""
    parameters = psycopg.conninfo.conninfo_to_dict(server.url) | {"user": "orders", "password": password}
    with locations.try_passwords(psycopg.connect, parameters, former) as connection:
        return connection.info.user


def test_a_former_password_is_tried_until_the_role_has_the_new_one(server):
    assert connect_with(server, "new", "older", "former") == "orders"
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        connect_with(server, "new", "older")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        connect_with(server, "new")


def test_an_outage_is_not_tried_with_every_password():
    servers = FakeServers()
    with pytest.raises(psycopg.OperationalError):
        locations.try_passwords(servers.connect, {"host": "here", "password": "new"}, ["former"])
    assert servers.tried == ["here"]
