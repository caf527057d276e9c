"""Health: a process is alive while it responds, and ready while it can sell."""

import shutil
import tomllib
from contextlib import contextmanager
from datetime import datetime

import psycopg
import pytest
from django.conf import settings
from django.db import OperationalError, connections
from django.test import Client
from django.urls import resolve

from shop import clock
from shop.calls import hosts, services
from shop.db.database import execute
from shop.db.postgres import disk_space
from shop.errors import Unavailable
from shop.http import health
from shop.messaging.engine import run_until_idle
from tests.concurrency import eventually, repeat_concurrently, run_in_thread
from tests.ports import reserve_port
from tests.readiness import forget_readiness, read_readiness
from tests.shop.db.superuser_session import (
    database_name,
    execute_as_superuser,
    open_superuser_session,
    terminate_connection,
)
from tests.shop.messaging.letters import LetterSent, publish_letters, register_handler

pytestmark = pytest.mark.urls("tests.shop.http.urls")


ready = read_readiness


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
        assert ready("/ready?scope=shop")[0] == status_of_shop


@contextmanager
def refused_inserts(alias):
    """Let PostgreSQL refuse what adds rows, as it does when its disk is full."""
    execute(alias, """CREATE FUNCTION public.test_full_disk() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$""")  # fmt: skip
    execute(alias, "CREATE TRIGGER full_disk BEFORE INSERT ON shop_purge EXECUTE FUNCTION public.test_full_disk()")
    try:
        yield
    finally:
        execute(alias, "DROP FUNCTION public.test_full_disk CASCADE")
        disk_space._refused_at.clear()


@contextmanager
def refused_temporary_files(alias):
    """Let the database refuse a temporary file, whatever is free on the disk of this machine."""
    execute(alias, "CREATE SCHEMA full_disk")
    execute(alias, """CREATE FUNCTION full_disk.repeat(text, int) RETURNS text LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'could not write to file' USING ERRCODE = '53100'; END $$""")  # fmt: skip
    execute_as_superuser(f"ALTER ROLE {database_name(alias)} SET search_path = full_disk, pg_catalog, public")
    try:
        yield
    finally:
        execute_as_superuser(f"ALTER ROLE {database_name(alias)} RESET search_path")
        execute(alias, "DROP SCHEMA full_disk CASCADE")
        connections[alias].close_pool()  # its sessions have the search path
        disk_space._refused_at.clear()


def ready_with_new_sessions():
    connections.close_all()
    for alias in settings.CONTEXTS:
        connections[alias].close_pool()
    return ready()


@pytest.mark.parametrize(("context", "expected"), [("orders", 503), ("inventory", 503), ("notifications", 200)])
def test_a_database_whose_disk_is_full_counts_as_unavailable(context, expected):
    with refused_temporary_files(context):
        status, body = run_in_thread(ready_with_new_sessions)
        assert (status, body["degraded"]) == (expected, True)
        assert body["contexts"][context] == {"database": "disk full"}
    assert run_in_thread(ready_with_new_sessions)[0] == 200


def test_a_write_that_postgresql_refuses_for_lack_of_space_is_reported():
    with refused_inserts("orders"):
        assert ready()[0] == 200
        with pytest.raises(OperationalError):
            execute("orders", "INSERT INTO shop_purge DEFAULT VALUES")
        status, body = ready()
        assert (status, body["contexts"]["orders"]) == (503, {"database": "disk full"})
    assert ready()[0] == 200


def test_a_host_whose_disk_is_full_does_not_serve_its_context():
    with refused_temporary_files("orders"), pytest.raises(Unavailable, match="whose disk is full"):
        run_in_thread(
            lambda: (connections["orders"].close_pool(), disk_space.forget_probes(), hosts._check_database("orders"))
        )


def test_the_probe_of_the_disk_writes_a_megabyte():
    with open_superuser_session("postgres", autocommit=True) as session:
        session.execute("SET work_mem = '64kB'; SET temp_file_limit = '900kB'")
        with pytest.raises(psycopg.errors.ConfigurationLimitExceeded):
            session.execute(disk_space.PROBE_SQL)
        session.execute("SET temp_file_limit = '1500kB'")
        assert session.execute(disk_space.PROBE_SQL).fetchone() == (128,)


def count_temporary_files(alias):
    """Count the temporary files that sessions of a database have written, after all of them have ended."""
    connections.close_all()
    connections[alias].close_pool()
    sessions = "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND application_name LIKE 'satsuma%%'"
    counter = "SELECT temp_files FROM pg_stat_database WHERE datname = %s"
    with open_superuser_session("postgres", autocommit=True) as session:
        eventually(lambda: not session.execute(sessions, [database_name(alias)]).fetchone())
        [(count,)] = session.execute(counter, [database_name(alias)]).fetchall()
        return count


def test_a_flood_of_requests_writes_one_temporary_file():
    forget_readiness()
    before = count_temporary_files("orders")
    assert set(repeat_concurrently(20, lambda _: Client().get("/ready").status_code)) == {200}
    assert count_temporary_files("orders") == before + 1
    health.readiness.forget()
    assert Client().get("/ready").status_code == 200
    assert count_temporary_files("orders") == before + 1, "the outcome of the probe is used for longer"


def test_the_checks_run_once_for_all_who_ask_meanwhile_and_shortly_after():
    forget_readiness()
    assert Client().get("/ready").status_code == 200
    with without_database("orders"):
        assert run_in_thread(lambda: Client().get("/ready").status_code) == 200, "of a moment ago"
        eventually(lambda: run_in_thread(lambda: Client().get("/ready").status_code) == 503, timeout=10)
    eventually(lambda: run_in_thread(lambda: Client().get("/ready").status_code) == 200, timeout=10)


def test_a_limit_of_temporary_files_does_not_make_a_disk_full():
    execute_as_superuser(f"ALTER ROLE {database_name('orders')} SET temp_file_limit = '100kB'")
    try:
        assert run_in_thread(ready_with_new_sessions)[0] == 200
    finally:
        execute_as_superuser(f"ALTER ROLE {database_name('orders')} RESET temp_file_limit")
        run_in_thread(ready_with_new_sessions)


@pytest.mark.parametrize(("minimum", "state"), [(0, "ok"), (10**9, "nearly full")])
def test_a_disk_that_is_nearly_full_is_reported_and_the_process_stays_ready(settings, tmp_path, minimum, state):
    settings.DISK_FOLDERS, settings.MIN_FREE_DISK_MB = ["/", str(tmp_path)], minimum
    status, body = ready()
    assert (status, body["disk"]["state"], body["degraded"]) == (200, state, state != "ok")
    assert body["disk"]["free_mb"] == pytest.approx(shutil.disk_usage(tmp_path).free / 1_000_000, abs=5_000)


def test_a_missing_folder_has_no_space(settings, tmp_path):
    settings.DISK_FOLDERS = [str(tmp_path), str(tmp_path / "gone")]
    assert ready()[1]["disk"] == {"state": "nearly full", "free_mb": 0}


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
