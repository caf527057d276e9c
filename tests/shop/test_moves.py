"""A connection that is refused goes to where the directory says that the database is now."""

import threading
from functools import partial

import psycopg
import pytest
from django.conf import settings

from config.directory import Directory
from shop.postgres import moves
from shop.postgres.moves import Place
from tests.threads import eventually

HERE = Place(1, "here", "", "orders", "orders")
THERE = Place(2, "there", "5433", "moved", "orders_2")


class Servers:
    """Where somebody may log in; `asked` has the hosts that were tried."""

    def __init__(self, *open_at: str) -> None:
        self.open_at, self.asked = set(open_at), []

    def connect(self, **parameters: str) -> str:
        self.asked.append(parameters["host"])
        if parameters["host"] not in self.open_at:
            raise psycopg.OperationalError("role may not log in")
        return parameters["host"]


@pytest.fixture
def directory():
    """The record of a context that no database here belongs to, so that nobody else is sent anywhere."""
    directory = Directory()
    yield directory
    directory.connection.execute("DELETE FROM binding WHERE context = 'nobodys'")
    directory.connection.close()
    moves._found.pop("nobodys", None)


def connected(servers: Servers) -> str:
    return moves.connect("nobodys", servers.connect, {"host": HERE.host, "user": "orders"})


def test_who_is_not_refused_never_asks(directory):
    directory.put("nobodys", THERE)
    assert connected(Servers("here", "there")) == "here"


def test_who_is_refused_is_told_where_it_is_and_remembers(directory):
    directory.put("nobodys", THERE)
    servers = Servers("there")
    assert [connected(servers), connected(servers)] == ["there", "there"]
    assert servers.asked == ["here", "there", "there"]


def test_it_moves_again(directory):
    directory.put("nobodys", THERE)
    servers = Servers("there")
    connected(servers)
    directory.put("nobodys", Place(3, "elsewhere", "", "moved", "orders_3"))
    servers.open_at = {"elsewhere"}
    assert connected(servers) == "elsewhere"


def test_while_it_moves_everybody_waits(directory):
    directory.put("nobodys", HERE._replace(moving=True))
    servers, answers = Servers(), []
    waiting = threading.Thread(target=lambda: answers.append(connected(servers)))
    waiting.start()
    eventually(lambda: len(servers.asked) > 3)
    directory.put("nobodys", THERE)
    servers.open_at = {"there"}
    waiting.join(moves.PATIENCE)
    assert answers == ["there"]


@pytest.mark.parametrize("place", [None, THERE])
def test_where_nobody_is_let_in_the_refusal_is_the_answer(directory, place):
    if place:
        directory.put("nobodys", place)
    servers = Servers()
    with pytest.raises(psycopg.OperationalError, match="may not log in"):
        connected(servers)
    servers.open_at = {"here"}
    assert connected(servers) == "here"  # an outage was no move


def test_without_a_directory_a_refusal_is_a_refusal(settings):
    settings.DIRECTORY = settings.DIRECTORY | {"NAME": "there_is_none"}
    with pytest.raises(psycopg.OperationalError, match="may not log in"):
        connected(Servers())


def test_a_context_can_read_the_directory_and_no_more(directory):
    own = settings.DIRECTORY
    connect = partial(psycopg.connect, host=own["HOST"], port=own["PORT"] or None, dbname=own["NAME"], user=own["USER"])
    with connect(password=own["PASSWORD"], autocommit=True) as reader:
        for statement in ("UPDATE binding SET host = 'mine'", "SELECT * FROM move", "CREATE TABLE mine (id int)"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                reader.execute(statement)
