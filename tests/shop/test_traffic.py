"""What went between contexts, how often and how fast, from any number of processes."""

import os
import subprocess
import sys
import time

import pytest
from django.conf import settings
from django.db import OperationalError, connections

from shop import services, traffic
from shop.database import changed, rows
from shop.engine import run_until_idle
from shop.errors import Unavailable
from shop.traffic import Edge, Recorder
from tests.inventory.stock import stocked
from tests.shop import post
from tests.shop.library import LocalLibrary, UnknownBook
from tests.shopper import InProcess

HERE = __name__.rpartition(".")[2]  # a caller that is no context


@pytest.fixture(autouse=True)
def nothing_yet():
    services.seen.clear()
    for context in settings.CONTEXTS:
        changed(context, "DELETE FROM shop_callcount")


def edges(alias: str = "orders") -> dict[str, Edge]:
    return {edge.name: edge for edge in traffic.edges(alias)}


def written() -> dict[str, Edge]:
    Recorder().write()
    return edges()


def test_the_calls_of_a_real_order_add_up(in_one_process):
    shopper, sku = InProcess(), stocked(5)
    services.seen.clear()
    for _ in range(3):
        assert shopper.order(sku).status == 201
    found = written()
    assert {(e.kind, e.caller, e.callee) for e in found.values() if e.name == "reserve"} == {("call", "orders", "inventory")}
    assert (found["reserve"].count, found["authorize"].count) == (3, 3)
    assert [e.failed for e in found.values() if e.kind == "call"] == [0] * sum(e.kind == "call" for e in found.values())


@pytest.mark.parametrize("seconds", [0.0002, 0.003, 0.05])
def test_times_are_what_they_were(seconds):
    for n in range(100):
        services.seen.append(("contexts.orders.saga", "inventory.reserve", seconds if n < 90 else 10 * seconds, False))
    found = written()["reserve"]
    assert found.mean == pytest.approx(1900 * seconds)
    assert found.p50 == pytest.approx(1000 * seconds, rel=0.2)
    assert found.p95 == pytest.approx(10_000 * seconds, rel=0.2)


@pytest.fixture
def slow(monkeypatch):
    """The tests' library takes its time, and has lost one of its books with the database."""
    plain = LocalLibrary.books

    def books(self, *, isbns):
        time.sleep(0.02)
        if "lost" in isbns:
            raise OperationalError("gone")
        return plain(self, isbns=isbns)

    monkeypatch.setattr(LocalLibrary, "books", books)


def test_each_transport_sees_each_call_once_and_its_time(slow, library):
    library.books(isbns=("1",))
    [(module, method, seconds, failed)] = services.seen
    assert (module, method, failed) == (__name__, "library.books", False)
    assert seconds >= 0.02


def test_a_domain_error_is_an_answer_and_an_outage_is_none(slow, library):
    with pytest.raises(UnknownBook):
        library.books(isbns=("missing",))
    with pytest.raises(Unavailable):
        library.books(isbns=("lost",))
    assert [failed for *_, failed in services.seen] == [False, True]


def test_who_is_no_context_is_known_where_the_process_is_at_home(library):
    library.books(isbns=())
    assert (written()["books"].caller, written()["books"].callee) == (HERE, "library")


ANOTHER = """
import django
django.setup()
from shop import services, traffic
services.seen.extend([("contexts.orders.saga", "inventory.reserve", 0.001, False)] * 7)
recorder = traffic.Recorder()
recorder.start()
recorder.stop()
"""


def test_what_two_processes_saw_is_added_up():
    for _ in range(5):
        services.seen.append(("contexts.orders.saga", "inventory.reserve", 0.001, True))
    elsewhere = os.environ | {"DJANGO_SETTINGS_MODULE": "config.settings"}
    subprocess.run([sys.executable, "-c", ANOTHER], cwd=settings.BASE_DIR, env=elsewhere, check=True)
    found = written()["reserve"]
    assert (found.count, found.failed) == (12, 5)
    assert rows("orders", "SELECT sum(calls) FROM shop_callcount") == [(12,)]


def test_what_an_outage_kept_from_being_written_is_written_later():
    recorder = Recorder()
    services.seen.append(("contexts.orders.saga", "inventory.reserve", 0.001, False))
    changed("orders", "ALTER TABLE shop_callcount RENAME TO away")
    try:
        recorder.write()
    finally:
        changed("orders", "ALTER TABLE away RENAME TO shop_callcount")
    assert edges() == {name: edge for name, edge in edges().items() if edge.kind == "event"}
    recorder.write()
    recorder.write()
    assert edges()["reserve"].count == 1


def test_a_connection_that_cannot_be_closed_keeps_nothing_from_being_written(monkeypatch):
    """As one whose pool is gone: the thread would end without a word."""

    def broken():
        raise OperationalError("no pool takes it back")

    monkeypatch.setattr(connections["orders"], "close", broken)
    services.seen.append(("contexts.orders.saga", "inventory.reserve", 0.001, False))
    services.seen.append(("contexts.users.service", "orders.get", 0.001, False))
    Recorder().write()
    assert [edges(alias)[name].count for alias, name in (("orders", "reserve"), ("users", "get"))] == [1, 1]


def test_rates_are_of_the_minutes_that_were_asked_about():
    services.seen.extend([("contexts.orders.saga", "inventory.reserve", 0.001, False)] * 30)
    Recorder().write()
    changed("orders", "UPDATE shop_callcount SET minute = minute - interval '2 minutes'")
    [(minutes,)] = rows("orders", "SELECT extract(epoch FROM now() - min(minute))::float / 60 FROM shop_callcount")
    assert edges()["reserve"].per_minute == pytest.approx(30 / minutes, rel=0.1)
    assert minutes >= 2
    assert [one for one in traffic.edges("orders", minutes=1) if one.kind == "call"] == []


def test_what_is_older_than_a_day_is_forgotten():
    services.seen.extend([("contexts.orders.saga", "inventory.reserve", 0.001, False)] * 3)
    Recorder().write()
    assert traffic.purge("orders") == 0
    changed("orders", "UPDATE shop_callcount SET minute = minute - interval '25 hours'")
    assert traffic.purge("orders") == 1


def test_facts_on_their_way_and_the_time_that_they_took(letter):
    post.listen(lambda event: None)
    post.send(letter, "one", "two")
    assert edges(post.SENDER)[post.LetterSent.name].failed == 2
    time.sleep(0.05)
    run_until_idle()
    found = edges(post.SENDER)[post.LetterSent.name]
    assert (found.kind, found.caller, found.callee, found.failed) == ("event", post.SENDER, post.READER, 0)
    assert found.per_minute > 0
    assert 50 <= found.p50 <= found.p95 < 30_000


def test_old_facts_are_not_read(letter):
    post.listen(lambda event: None)
    post.send(letter, "one")
    assert post.LetterSent.name not in {edge.name for edge in traffic.edges(post.SENDER, minutes=-1)}
