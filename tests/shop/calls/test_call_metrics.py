"""Call metrics: how often contexts call each other and how long it takes, counted by any number of processes."""

import os
import subprocess
import sys
import time

import pytest
from django.conf import settings
from django.db import OperationalError, connections

from shop.calls import call_metrics, services
from shop.calls.call_metrics import CallRecorder, Edge
from shop.db.database import execute, fetch_rows, hosted_contexts
from shop.db.retention import list_model_rules
from shop.errors import Unavailable
from shop.messaging.engine import run_until_idle
from shop.models import CallCount
from shop.purging import purge_now
from tests.factories import create_sku
from tests.shop.calls.library import LocalLibrary, UnknownBook
from tests.shop.messaging import letters
from tests.shopper import InProcessShopper

OWN_NAME = __name__.rpartition(".")[2]  # this module calls, and belongs to no context


@pytest.fixture(autouse=True)
def no_calls():
    services.call_log.clear()
    for context in settings.CONTEXTS:
        execute(context, "DELETE FROM shop_callcount")


def edges(alias: str = "orders") -> dict[str, Edge]:
    return {edge.name: edge for edge in call_metrics.list_edges(alias)}


def flush_and_list_edges() -> dict[str, Edge]:
    CallRecorder().flush()
    return edges()


def test_the_calls_of_a_real_order_add_up(in_one_process):
    shopper, sku = InProcessShopper(), create_sku(5)
    services.call_log.clear()
    for _ in range(3):
        assert shopper.order(sku).status == 201
    found = flush_and_list_edges()
    assert {(e.kind, e.caller, e.callee) for e in found.values() if e.name == "reserve"} == {
        ("call", "orders", "inventory")
    }
    assert (found["reserve"].count, found["authorize"].count) == (3, 3)
    assert [e.failed for e in found.values() if e.kind == "call"] == [0] * sum(e.kind == "call" for e in found.values())


@pytest.mark.parametrize("seconds", [0.0002, 0.003, 0.05])
def test_recorded_times_match(seconds):
    for n in range(100):
        services.call_log.append(
            ("contexts.orders.checkout", "inventory.reserve", seconds if n < 90 else 10 * seconds, False)
        )
    found = flush_and_list_edges()["reserve"]
    assert found.mean == pytest.approx(1900 * seconds)
    assert found.p50 == pytest.approx(1000 * seconds, rel=0.2)
    assert found.p95 == pytest.approx(10_000 * seconds, rel=0.2)


@pytest.fixture
def slow_library(monkeypatch):
    """The tests' library answers slowly, and fails like a lost database for one of its books."""
    original = LocalLibrary.books

    def books(self, *, isbns):
        time.sleep(0.02)
        if "lost" in isbns:
            raise OperationalError("connection lost")
        return original(self, isbns=isbns)

    monkeypatch.setattr(LocalLibrary, "books", books)


def test_each_transport_records_each_call_once_with_its_time(slow_library, library):
    library.books(isbns=("1",))
    [(module, method, seconds, failed)] = services.call_log
    assert (module, method, failed) == (__name__, "library.books", False)
    assert seconds >= 0.02


def test_a_domain_error_is_a_result_and_an_outage_a_failure(slow_library, library):
    with pytest.raises(UnknownBook):
        library.books(isbns=("missing",))
    with pytest.raises(Unavailable):
        library.books(isbns=("lost",))
    assert [failed for *_, failed in services.call_log] == [False, True]


def test_calls_of_other_callers_are_recorded_in_the_home_database(library):
    library.books(isbns=())
    CallRecorder().flush()
    edge = edges(hosted_contexts()[0])["books"]
    assert (edge.caller, edge.callee) == (OWN_NAME, "library")


OTHER_PROCESS = """
import django
django.setup()
from shop.calls import call_metrics, services
services.call_log.extend([("contexts.orders.checkout", "inventory.reserve", 0.001, False)] * 7)
recorder = call_metrics.CallRecorder()
recorder.start()
recorder.stop()
"""


def test_counts_of_two_processes_are_added_up():
    for _ in range(5):
        services.call_log.append(("contexts.orders.checkout", "inventory.reserve", 0.001, True))
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "config.settings"}
    subprocess.run([sys.executable, "-c", OTHER_PROCESS], cwd=settings.BASE_DIR, env=environment, check=True)
    found = flush_and_list_edges()["reserve"]
    assert (found.count, found.failed) == (12, 5)
    assert fetch_rows("orders", "SELECT sum(calls) FROM shop_callcount") == [(12,)]


def test_counts_are_written_later_after_an_outage():
    recorder = CallRecorder()
    services.call_log.append(("contexts.orders.checkout", "inventory.reserve", 0.001, False))
    execute("orders", "ALTER TABLE shop_callcount RENAME TO renamed")
    try:
        recorder.flush()
    finally:
        execute("orders", "ALTER TABLE renamed RENAME TO shop_callcount")
    assert edges() == {name: edge for name, edge in edges().items() if edge.kind == "event"}
    recorder.flush()
    recorder.flush()
    assert edges()["reserve"].count == 1


def test_a_connection_that_cannot_be_closed_does_not_prevent_writing(monkeypatch):
    """Otherwise the thread would end silently when the pool of a connection has been closed."""

    def broken():
        raise OperationalError("the pool is closed")

    monkeypatch.setattr(connections["orders"], "close", broken)
    services.call_log.append(("contexts.orders.checkout", "inventory.reserve", 0.001, False))
    services.call_log.append(("contexts.users.service", "orders.get", 0.001, False))
    CallRecorder().flush()
    assert [edges(alias)[name].count for alias, name in (("orders", "reserve"), ("users", "get"))] == [1, 1]


def test_rates_cover_the_requested_minutes():
    services.call_log.extend([("contexts.orders.checkout", "inventory.reserve", 0.001, False)] * 30)
    CallRecorder().flush()
    execute("orders", "UPDATE shop_callcount SET minute = minute - interval '2 minutes'")
    [(minutes,)] = fetch_rows(
        "orders", "SELECT extract(epoch FROM now() - min(minute))::float / 60 FROM shop_callcount"
    )
    assert edges()["reserve"].per_minute == pytest.approx(30 / minutes, rel=0.1)
    assert minutes >= 2
    assert [one for one in call_metrics.list_edges("orders", minutes=1) if one.kind == "call"] == []


def test_counts_older_than_a_day_are_purged():
    services.call_log.extend([("contexts.orders.checkout", "inventory.reserve", 0.001, False)] * 3)
    CallRecorder().flush()
    assert purge_now("orders", list_model_rules(CallCount)) == 0
    execute("orders", "UPDATE shop_callcount SET minute = minute - interval '25 hours'")
    assert purge_now("orders", list_model_rules(CallCount)) == 1


def test_pending_events_and_their_delivery_time_are_reported(letter):
    letters.register_handler(lambda event: None)
    letters.publish_letters(letter, "one", "two")
    assert edges(letters.PUBLISHER)[letters.LetterSent.name].failed == 2
    time.sleep(0.05)
    run_until_idle()
    found = edges(letters.PUBLISHER)[letters.LetterSent.name]
    assert (found.kind, found.caller, found.callee, found.failed) == ("event", letters.PUBLISHER, letters.SUBSCRIBER, 0)
    assert found.per_minute > 0
    assert 50 <= found.p50 <= found.p95 < 30_000


def test_old_events_are_not_read(letter):
    letters.register_handler(lambda event: None)
    letters.publish_letters(letter, "one")
    assert letters.LetterSent.name not in {edge.name for edge in call_metrics.list_edges(letters.PUBLISHER, minutes=-1)}
