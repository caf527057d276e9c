"""Checks at start: a wrong configuration is refused with a message that names what to change."""

import json
import os
import subprocess
import sys

import pytest
from django.conf import settings
from django.core.checks import run_checks
from django.core.management import CommandError, call_command
from django.db import connections

from config import checks
from ops.connection_checks import check_connection_budget
from ops.database_checks import check_separate_databases
from shop.calls import services
from shop.messaging.events import build_subscriptions
from shop.process_variables import count_server_processes
from tests.readiness import read_readiness
from tests.shop.db.superuser_session import database_name, execute_as_superuser


def errors(found, identifier):
    return [one.msg for one in found if one.id == identifier]


def test_the_default_configuration_passes_every_check(settings):
    assert errors(run_checks(databases=settings.CONTEXTS), "config.E003") == []


def test_two_contexts_on_one_database_are_refused(monkeypatch):
    monkeypatch.setitem(connections.settings, "payments", connections.settings["orders"])
    found = check_separate_databases(databases=["orders", "payments", "users"])
    assert [one.id for one in found] == ["config.E003"]
    assert found[0].msg.startswith("payments and orders are on one database")


def test_a_database_that_cannot_be_reached_is_left_to_the_readiness_probe(monkeypatch):
    unreachable = connections.settings["payments"] | {"HOST": "127.0.0.1", "PORT": 1}
    monkeypatch.setitem(connections.settings, "payments", unreachable)
    assert check_separate_databases(databases=["orders", "payments"]) == []


def test_a_server_that_accepts_fewer_connections_than_all_processes_may_open_is_refused(settings):
    settings.CONNECTIONS = settings.CONNECTIONS._replace(processes=14, connections=25)
    [message] = errors(run_checks(databases=settings.CONTEXTS), "config.E013")
    assert message.startswith(f"The server of {', '.join(settings.CONTEXTS)} (")
    assert (
        "accepts 297 connections, but DATABASE_PROCESSES (14) x DATABASE_CONNECTIONS (25) and 10 for commands are 360: "
        in message
    )
    assert message.endswith("raise its max_connections, or set DATABASE_CONNECTIONS to 20")
    settings.CONNECTIONS = settings.CONNECTIONS._replace(connections=20)
    assert errors(run_checks(databases=settings.CONTEXTS), "config.E013") == []


@pytest.mark.parametrize("kind", ["ROLE", "DATABASE"])
def test_a_role_or_a_database_that_accepts_fewer_connections_is_refused(settings, kind):
    settings.CONNECTIONS = settings.CONNECTIONS._replace(processes=2, connections=20, pool_size=16)
    name = database_name("payments")
    try:
        execute_as_superuser(f'ALTER {kind} "{name}" CONNECTION LIMIT 41')
        assert errors(run_checks(databases=["payments", "orders"]), "config.E013") == [
            f"The {kind.lower()} {name} accepts 41 connections, but DATABASE_PROCESSES (2) x DATABASE_POOL_SIZE (16) and 10 "
            f'for commands are 42: run ALTER {kind} "{name}" CONNECTION LIMIT 42, or lower DATABASE_POOL_SIZE'
        ]
        _, body = read_readiness()
        missing = {context: state["missing_connections"] for context, state in body["contexts"].items()}
        assert missing == dict.fromkeys(settings.CONTEXTS, 0) | {"payments": 1}
        assert body["contexts"]["payments"]["degraded"]
        execute_as_superuser(f'ALTER {kind} "{name}" CONNECTION LIMIT 42')
        assert errors(run_checks(databases=["payments", "orders"]), "config.E013") == []
    finally:
        execute_as_superuser(f'ALTER {kind} "{name}" CONNECTION LIMIT -1')


def test_a_running_process_reports_a_server_that_accepts_fewer_connections(settings):
    settings.CONNECTIONS = settings.CONNECTIONS._replace(processes=14, connections=25)
    status, body = read_readiness()
    assert (status, body["degraded"]) == (200, True)
    assert {state["missing_connections"] for state in body["contexts"].values()} == {360 - 297}


def test_processes_of_this_container_that_are_not_counted_cause_a_warning(settings, monkeypatch):
    monkeypatch.setenv("WEB_WORKERS", "4")
    settings.CONNECTIONS = settings.CONNECTIONS._replace(processes=3)
    [warning] = errors(check_connection_budget(databases=["orders"]), "config.W006")
    assert warning.startswith("DATABASE_PROCESSES is 3, but this container alone has 4 server processes")
    settings.CONNECTIONS = settings.CONNECTIONS._replace(processes=4)
    assert errors(check_connection_budget(databases=["orders"]), "config.W006") == []


def test_a_server_that_cannot_be_reached_is_not_asked_for_its_connections(settings, monkeypatch):
    settings.CONNECTIONS = settings.CONNECTIONS._replace(processes=10_000)
    unreachable = connections.settings["payments"] | {"HOST": "127.0.0.1", "PORT": 1}
    monkeypatch.setitem(connections.settings, "payments", unreachable)
    assert list(check_connection_budget(databases=["payments"])) == []
    messages = errors(check_connection_budget(databases=["payments", "orders"]), "config.E013")
    assert [message.partition(" (")[0] for message in messages if message.startswith("The server")] == [
        "The server of orders"
    ]
    assert not any("payments" in message for message in messages)


@pytest.mark.parametrize("command", [["check", "--database=orders"], ["engine"]], ids=" ".join)
def test_no_process_starts_with_a_budget_that_its_server_cannot_serve(command):
    environment = os.environ | {"DATABASE_PROCESSES": "1000"}
    done = subprocess.run(
        [sys.executable, "manage.py", *command], env=environment, capture_output=True, text=True, timeout=120, check=False,
        cwd=settings.BASE_DIR,
    )  # fmt: skip
    assert done.returncode == 1
    assert "DATABASE_PROCESSES (1000)" in done.stderr


@pytest.mark.parametrize(
    ("variables", "count"),
    [({}, 2), ({"WEB_WORKERS": "3"}, 3), ({"INTERNAL_PORT": "8001"}, 3), ({"WEB_WORKERS": "x"}, 2)],
)
def test_the_processes_of_a_container_are_counted(variables, count, monkeypatch):
    for name in ("WEB_WORKERS", "INTERNAL_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert count_server_processes() == count


def test_an_outdated_subscriptions_file_is_refused(settings):
    settings.SUBSCRIPTIONS = build_subscriptions() | {"orders.undeclared": ["users"]}
    [found] = checks.check_subscriptions()
    assert (found.id, "run `manage.py subscriptions`" in found.msg) == ("config.E002", True)


def test_a_current_subscriptions_file_passes(settings):
    settings.SUBSCRIPTIONS = build_subscriptions()
    assert checks.check_subscriptions() == []


def test_a_process_that_hosts_some_contexts_does_not_check_the_file(settings):
    settings.SUBSCRIPTIONS = {}
    settings.CONTEXTS = ("orders",)
    assert checks.check_subscriptions() == []


@pytest.mark.parametrize(
    "target",
    ["no.such.Module", "tests.shop.calls.library.NoSuchClass", "tests.shop.calls.library.UnfinishedLibrary", ""],
)
def test_an_unusable_binding_is_refused(library, target):
    services.configure({"library": target}, "local")
    found = errors(checks.check_bindings(), "config.E001")
    assert len(found) == 1
    assert found[0].startswith("A service binding is not usable")


@pytest.fixture
def outdated_file(settings, tmp_path):
    settings.BASE_DIR = tmp_path
    (tmp_path / "config").mkdir()
    file = tmp_path / "config" / "subscriptions.json"
    file.write_text('{"orders.gone": ["users"]}\n')
    return file


def test_the_command_refuses_an_outdated_file_and_writes_a_current_one(outdated_file):
    with pytest.raises(CommandError, match=r"subscriptions\.json does not match the handlers"):
        call_command("subscriptions", check=True)
    call_command("subscriptions")
    assert json.loads(outdated_file.read_text()) == build_subscriptions()
    call_command("subscriptions", check=True)
