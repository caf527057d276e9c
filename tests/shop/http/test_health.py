"""Health: a process is alive while it responds, and ready while it can sell."""

import tomllib
from contextlib import contextmanager
from datetime import datetime

import pytest
from django.conf import settings
from django.db import connections
from django.test import Client
from django.urls import resolve

from shop import clock
from shop.calls import services
from shop.db.database import execute
from shop.errors import Unavailable
from shop.http import health
from shop.messaging.engine import run_until_idle
from tests.concurrency import run_in_thread
from tests.ports import reserve_port
from tests.shop.db.superuser_session import database_name, execute_as_superuser, terminate_connection
from tests.shop.messaging.letters import LetterSent, publish_letters, register_handler

pytestmark = pytest.mark.urls("tests.shop.http.urls")


def ready():
    response = Client().get("/ready")
    return response.status_code, response.json()


def test_a_process_that_responds_is_healthy_and_reports_its_version_and_time():
    before = clock.now()
    response = Client().get("/health")
    body = response.json()
    assert (response.status_code, body["status"], sorted(body)) == (200, "ok", ["status", "time", "version"])
    assert body["time"].endswith("Z") and before <= datetime.fromisoformat(body["time"]) <= clock.now()
    project = tomllib.loads((settings.BASE_DIR / "pyproject.toml").read_text())["project"]
    assert body["version"] == project["version"]


def test_a_process_with_all_its_databases_is_ready(settings):
    status, body = ready()
    assert (status, body["status"]) == (200, "ready")
    assert set(body["contexts"]) == set(settings.CONTEXTS)
    assert {state["database"] for state in body["contexts"].values()} == {"ok"}


@contextmanager
def without_database(alias):
    """Forbid the role of a context to connect, and end its sessions, as a cut-over does."""
    execute_as_superuser(f"ALTER ROLE {database_name(alias)} NOLOGIN")
    execute_as_superuser(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", [database_name(alias)]
    )
    try:
        yield
    finally:
        execute_as_superuser(f"ALTER ROLE {database_name(alias)} LOGIN")
        connections.close_all()


def test_a_process_without_a_database_is_not_ready_until_it_returns():
    with without_database("inventory"):
        status, body = run_in_thread(ready)
        assert (status, body["status"]) == (503, "not ready")
        assert body["contexts"]["inventory"] == {"database": "unavailable"}
        assert body["contexts"]["orders"]["database"] == "ok"
        assert Client().get("/health").status_code == 200
    assert run_in_thread(ready)[0] == 200


@pytest.mark.parametrize("context", ["notifications", "payments", "users"])
def test_a_process_without_a_database_that_is_not_needed_to_sell_stays_ready(context):
    with without_database(context):
        status, body = run_in_thread(ready)
        assert (status, body["status"], body["degraded"]) == (200, "ready", True)
        assert body["contexts"][context] == {"database": "unavailable"}


@pytest.mark.parametrize("needed", ["inventory", "orders"])
def test_a_process_is_not_ready_without_one_of_the_databases_that_are_needed_to_sell(needed):
    with without_database(needed):
        assert run_in_thread(ready)[0] == 503


def test_a_process_without_any_database_is_not_ready(settings):
    """No context that this process hosts is needed to sell, but nothing else is left that it could serve."""
    settings.CONTEXTS = ["notifications"]
    with without_database("notifications"):
        assert run_in_thread(ready)[0] == 503


@contextmanager
def context_elsewhere(settings, context, url):
    """Let this process host all contexts but one, which is at another address."""
    settings.CONTEXTS = [name for name in settings.CONTEXTS if name != context]
    services.configure(settings.SERVICES | {context: url}, settings.TRANSPORT)
    try:
        yield
    finally:
        services.configure(settings.SERVICES, settings.TRANSPORT)


@pytest.mark.parametrize(("context", "status_of_shop"), [("payments", 200), ("inventory", 503)])
def test_a_context_without_a_host_is_reported(settings, context, status_of_shop):
    with context_elsewhere(settings, context, f"http://127.0.0.1:{reserve_port()}"):
        status, body = ready()
        assert (status, body["status"], body["degraded"]) == (200, "ready", True), "this process serves its contexts"
        assert body["elsewhere"] == {context: "unavailable"}
        assert Client().get("/ready?scope=shop").status_code == status_of_shop


def test_a_lost_connection_does_not_make_a_process_unready():
    terminate_connection("users")
    connections.close_all()
    assert ready()[0] == 200


def test_a_lagging_engine_is_reported_and_the_process_stays_ready(letter, settings):
    settings.SUBSCRIPTIONS[LetterSent.name] = ["elsewhere"]
    publish_letters(letter, "hello")
    sql = "UPDATE shop_outboxevent SET occurred_at = now() - interval '1 hour' WHERE name = %s"
    execute("payments", sql, [LetterSent.name])
    status, body = ready()
    assert status == 200
    assert body["contexts"]["payments"]["engine"] == "lagging"
    assert body["contexts"]["payments"]["lag_seconds"] > health.MAX_LAG_SECONDS


def test_a_waiting_handler_counts_as_lag_of_its_context(letter):
    def fail_with_outage(event):
        raise Unavailable(what="x")

    register_handler(fail_with_outage, context="users")
    publish_letters(letter, "hello")
    run_until_idle()
    execute(
        "users", "UPDATE shop_inboxrow SET received_at = now() - interval '1 hour' WHERE name = %s", [LetterSent.name]
    )
    assert ready()[1]["contexts"]["users"]["engine"] == "lagging"


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_health_accepts_get_only(path):
    assert Client().post(path).status_code == 405


def test_the_site_serves_both_paths():
    assert resolve("/health", "config.urls").func is health.health
    assert resolve("/ready", "config.urls").func is health.ready
