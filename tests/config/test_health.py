"""Health: the process answers; it is ready while all of its databases are there."""

from contextlib import contextmanager

import pytest
from django.db import connections
from django.test import Client

from config import health
from shop.database import changed
from shop.errors import Unavailable
from tests.shop.post import LetterSent, listen, send
from tests.shop.server import cut_connection, name_of, superuser
from tests.threads import elsewhere

pytestmark = pytest.mark.urls("tests.shop.urls")


def ready():
    response = Client().get("/ready")
    return response.status_code, response.json()


def test_a_process_that_answers_is_healthy():
    response = Client().get("/health")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


def test_a_process_with_all_its_databases_is_ready(settings):
    status, found = ready()
    assert (status, found["status"]) == (200, "ready")
    assert set(found["contexts"]) == set(settings.CONTEXTS)
    assert {one["database"] for one in found["contexts"].values()} == {"ok"}


@contextmanager
def away(alias):
    """The role of a context cannot connect, and its sessions are gone, as in a cut-over."""
    superuser(f"ALTER ROLE {name_of(alias)} NOLOGIN")
    superuser("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", [name_of(alias)])
    try:
        yield
    finally:
        superuser(f"ALTER ROLE {name_of(alias)} LOGIN")
        connections.close_all()


def test_a_process_without_one_of_its_databases_is_not_ready_and_comes_back():
    with away("inventory"):
        status, found = elsewhere(ready)
        assert (status, found["status"]) == (503, "not ready")
        assert found["contexts"]["inventory"] == {"database": "unavailable"}
        assert found["contexts"]["orders"]["database"] == "ok"
        assert Client().get("/health").status_code == 200
    assert elsewhere(ready)[0] == 200


def test_a_lost_connection_does_not_make_a_process_unready_for_long():
    cut_connection("users")
    connections.close_all()
    assert ready()[0] == 200


def test_an_engine_that_is_behind_is_told_and_changes_nothing(letter, settings):
    settings.SUBSCRIPTIONS[LetterSent.name] = ["elsewhere"]
    send(letter, "hello")
    sql = "UPDATE shop_outboxevent SET occurred_at = now() - interval '1 hour' WHERE name = %s"
    changed("payments", sql, [LetterSent.name])
    status, found = ready()
    assert status == 200
    assert found["contexts"]["payments"]["engine"] == "lagging"
    assert found["contexts"]["payments"]["lag_seconds"] > health.LAGGING


def test_a_handler_that_waits_shows_as_lag_of_its_context(letter):
    def wait(event):
        raise Unavailable(what="x")

    listen(wait, context="users")
    send(letter, "hello")
    from shop.engine import run_until_idle

    run_until_idle()
    changed("users", "UPDATE shop_inboxrow SET received_at = now() - interval '1 hour' WHERE name = %s", [LetterSent.name])
    assert ready()[1]["contexts"]["users"]["engine"] == "lagging"


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_health_is_only_read(path):
    assert Client().post(path).status_code == 405


def test_the_site_has_both_addresses():
    from django.urls import resolve

    assert resolve("/health", "config.urls").func is health.health
    assert resolve("/ready", "config.urls").func is health.ready
