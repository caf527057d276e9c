"""Points and faults: points are recorded, faults happen where they are armed, and production refuses them."""

import os
import subprocess
import sys
import time
import uuid

import pytest
from django.conf import settings as configured
from django.db import OperationalError, connections

from config import checks
from contexts.inventory.interface import inventory
from shop import chaos
from shop.chaos import faults
from shop.db.database import close_broken_connections, execute, fetch_rows, transaction
from shop.errors import Unavailable
from shop.messaging.engine import run_until_idle
from tests.factories import create_sku
from tests.shopper import InProcessShopper

QUOTE_SCRIPT = (
    "import django; django.setup(); from contexts.inventory.interface import inventory; inventory.quote(skus=())"
)


@pytest.fixture
def arm_fault():
    yield faults.arm
    faults.disarm()
    connections.close_all()


def insert(key: str) -> None:
    """Execute one statement that writes."""
    execute("orders", "INSERT INTO shop_idempotencykey (scope, key, fingerprint) VALUES ('chaos', %s, '')", [key])


def insert_in_transaction(key: str) -> None:
    with transaction("orders"):
        insert(key)


def is_stored(key: str) -> bool:
    close_broken_connections()
    return fetch_rows("orders", "SELECT count(*) FROM shop_idempotencykey WHERE key = %s", [key]) == [(1,)]


WRITERS = pytest.mark.parametrize("write", [insert, insert_in_transaction])


def test_without_armed_faults_points_are_not_observed():
    assert chaos.on_point_reached is None
    assert chaos.wrap_with_points("provider.sandbox", configured) is configured
    assert chaos.call_with_points("x", lambda a, *, b: (a, b), 1, b=2) == (1, 2)


@WRITERS
def test_a_fault_before_commit_leaves_nothing(arm_fault, write):
    arm_fault("orders.commit.before:1:raise")
    key = uuid.uuid4().hex
    with pytest.raises(OperationalError, match=r"chaos at orders\.commit\.before"):
        write(key)
    assert not is_stored(key)


@WRITERS
@pytest.mark.parametrize("action", ["raise", "drop"])
def test_a_fault_after_commit_loses_only_the_reply(arm_fault, write, action):
    arm_fault(f"orders.commit.after:1:{action}")
    key = uuid.uuid4().hex
    with pytest.raises(OperationalError):
        write(key)
    assert is_stored(key)


@WRITERS
def test_a_session_dropped_before_a_commit_leaves_nothing(arm_fault, write):
    arm_fault("orders.commit.before:1:drop")
    key = uuid.uuid4().hex
    with pytest.raises(OperationalError):
        write(key)
    assert not is_stored(key)


def test_a_dropped_session_is_replaced(arm_fault):
    arm_fault("x.before:1:drop")
    [before] = fetch_rows("orders", "SELECT pg_backend_pid()")
    chaos.call_with_points("x", int)
    with pytest.raises(OperationalError):
        fetch_rows("orders", "SELECT 1")
    close_broken_connections()
    [after] = fetch_rows("orders", "SELECT pg_backend_pid()")
    assert before != after


def test_a_transaction_without_writes_passes_no_commit_point(arm_fault, tmp_path):
    arm_fault("", record=str(tmp_path / "points"))
    with transaction("orders"):
        fetch_rows("orders", "SELECT 1")
    execute("orders", "DELETE FROM shop_idempotencykey WHERE key = 'no such key'")
    assert not (tmp_path / "points").exists()


def test_a_fault_fires_at_the_nth_hit_only(arm_fault):
    arm_fault("orders.commit.*:3:raise")
    keys = [uuid.uuid4().hex for _ in range(3)]
    insert(keys[0])
    with pytest.raises(OperationalError):
        insert(keys[1])
    insert(keys[2])
    assert [is_stored(key) for key in keys] == [True, False, True]


def test_a_probability_is_applied_about_as_often_as_declared(arm_fault):
    arm_fault("x.before:p=0.2:raise", seed=1)
    hits = 0
    for _ in range(1000):
        try:
            chaos.call_with_points("x", int)
        except faults.InjectedFault:
            hits += 1
    assert 120 < hits < 280


def test_a_delay_lasts_as_long_as_declared(arm_fault):
    arm_fault("x.after:1:delay=0.2")
    began = time.monotonic()
    chaos.call_with_points("x", int)
    assert time.monotonic() - began >= 0.2


def test_an_outage_at_a_call_is_unavailable_to_the_caller(arm_fault):
    arm_fault("call.inventory.quote.after:p=1:raise")
    with pytest.raises(Unavailable):
        inventory.quote(skus=())


def test_an_order_passes_every_kind_of_point(arm_fault, tmp_path):
    file = tmp_path / "points"
    arm_fault("", record=str(file))
    assert InProcessShopper().order(create_sku(1)).status == 201
    run_until_idle()
    reached = set(file.read_text().split())
    points = {
        "orders.commit", "inventory.commit", "payments.commit", "call.inventory.reserve", "call.payments.capture",
        "provider.sandbox.confirm", "provider.sandbox.capture", "relay.orders.inventory",
        "handler.inventory.commit_reservation", "handler.notifications.write_receipt",
    }  # fmt: skip
    assert {f"{point}.{side}" for point in points for side in ("before", "after")} <= reached


def run_with(**environment: str) -> int:
    settings = {"DJANGO_SETTINGS_MODULE": "config.settings"}
    return subprocess.run(
        [sys.executable, "-c", QUOTE_SCRIPT],
        cwd=configured.BASE_DIR,
        env=os.environ | settings | environment,
        check=False,
    ).returncode


def test_a_process_is_killed_at_the_configured_point(tmp_path):
    file = tmp_path / "points"
    assert run_with(CHAOS="call.inventory.quote.after:1:kill", CHAOS_RECORD=str(file)) == -9
    assert file.read_text().split() == ["call.inventory.quote.before", "call.inventory.quote.after"]


def test_a_process_that_never_reaches_the_point_survives():
    assert run_with(CHAOS="call.inventory.quote.after:9:kill") == 0


def test_faults_are_refused_in_production(settings):
    settings.CHAOS = "orders.commit.after:1:kill"
    assert checks.check_faults_on_test_databases() == []
    settings.DATABASES["users"]["NAME"], name = "satsuma_users", settings.DATABASES["users"]["NAME"]
    found = checks.check_faults_on_test_databases()
    settings.DATABASES["users"]["NAME"] = name
    assert [(one.id, one.msg) for one in found] == [("config.E005", faults.TEST_DATABASES_ONLY)]
    settings.CHAOS = ""
    assert checks.check_faults_on_test_databases() == []
