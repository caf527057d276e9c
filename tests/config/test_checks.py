"""Start-up checks: what must not be is refused, with a sentence that says what to change."""

import json

import pytest
from django.core.checks import run_checks
from django.core.management import CommandError, call_command
from django.db import connections

from config import checks
from shop import services
from shop.events import subscriptions


def errors(found, identifier):
    return [one.msg for one in found if one.id == identifier]


def test_the_shop_as_it_stands_passes_every_check(settings):
    assert errors(run_checks(databases=settings.CONTEXTS), "config.E003") == []


def test_two_contexts_on_one_database_are_refused(settings):
    theirs = dict(connections["orders"].settings_dict)
    connections["payments"].close()
    mine, connections["payments"].settings_dict = connections["payments"].settings_dict, theirs | {
        "OPTIONS": {k: v for k, v in theirs["OPTIONS"].items() if k != "pool"}
    }  # fmt: skip
    pool = connections["payments"]._connection_pools.pop("payments", None)
    try:
        found = checks.one_database_each(databases=["orders", "payments", "users"])
    finally:
        connections["payments"].close()
        connections["payments"].settings_dict = mine
        if pool:
            connections["payments"]._connection_pools["payments"] = pool
    assert [one.id for one in found] == ["config.E003"]
    assert found[0].msg.startswith("payments and orders are on one database")


def test_a_drifted_subscriptions_file_is_refused(settings):
    settings.SUBSCRIPTIONS = subscriptions() | {"orders.nobody_declared_it": ["users"]}
    [found] = checks.subscriptions_are_current()
    assert (found.id, "run `manage.py subscriptions`" in found.msg) == ("config.E002", True)


def test_a_current_subscriptions_file_passes(settings):
    settings.SUBSCRIPTIONS = subscriptions()
    assert checks.subscriptions_are_current() == []


def test_a_process_that_hosts_a_part_cannot_tell_whether_the_file_is_current(settings):
    settings.SUBSCRIPTIONS = {}
    settings.CONTEXTS = ("orders",)
    assert checks.subscriptions_are_current() == []


@pytest.mark.parametrize(
    "target", ["no.such.Module", "tests.shop.library.NoSuchClass", "tests.shop.library.UnfinishedLibrary", ""]
)
def test_a_binding_that_cannot_be_used_is_refused(library, target):
    services.configure({"library": target}, "local")
    found = errors(checks.bindings_are_complete(), "config.E001")
    assert len(found) == 1
    assert found[0].startswith("A service binding is not usable")


@pytest.fixture
def drifted_file(settings, tmp_path):
    settings.BASE_DIR = tmp_path
    (tmp_path / "config").mkdir()
    file = tmp_path / "config" / "subscriptions.json"
    file.write_text('{"orders.gone": ["users"]}\n')
    return file


def test_the_command_refuses_a_drifted_file_and_writes_a_current_one(drifted_file):
    with pytest.raises(CommandError, match=r"subscriptions\.json is not what the handlers say"):
        call_command("subscriptions", check=True)
    call_command("subscriptions")
    assert json.loads(drifted_file.read_text()) == subscriptions()
    call_command("subscriptions", check=True)
