"""Checks at start: a wrong configuration is refused with a message that names what to change."""

import json

import pytest
from django.core.checks import run_checks
from django.core.management import CommandError, call_command
from django.db import connections

from config import checks
from shop.calls import services
from shop.db.checks import check_separate_databases
from shop.messaging.events import build_subscriptions


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
