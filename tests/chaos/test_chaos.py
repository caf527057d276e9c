"""Points and faults: what is reached is known, what is asked for happens there, and never where orders are real."""

import os
import subprocess
import sys
import time
import uuid

import pytest
from django.conf import settings as configured
from django.db import OperationalError, connections

from config import checks, faults
from contexts.inventory.interface import inventory
from shop import chaos
from shop.database import changed, drop_broken_connections, rows, transaction
from shop.engine import run_until_idle
from shop.errors import Unavailable
from tests.inventory.stock import stocked
from tests.shopper import InProcess

ASK = "import django; django.setup(); from contexts.inventory.interface import inventory; inventory.quote(skus=())"


@pytest.fixture
def arm():
    yield faults.arm
    faults.disarm()
    connections.close_all()


def insert(key: str) -> None:
    """One writing statement."""
    changed("orders", "INSERT INTO shop_idempotencykey (scope, key, fingerprint) VALUES ('chaos', %s, '')", [key])


def insert_in_transaction(key: str) -> None:
    with transaction("orders"):
        insert(key)


def is_there(key: str) -> bool:
    drop_broken_connections()
    return rows("orders", "SELECT count(*) FROM shop_idempotencykey WHERE key = %s", [key]) == [(1,)]


WRITERS = pytest.mark.parametrize("write", [insert, insert_in_transaction])


def test_unarmed_nothing_is_watched():
    assert chaos.reached is None
    assert chaos.watched("provider.sandbox", configured) is configured
    assert chaos.call("x", lambda a, *, b: (a, b), 1, b=2) == (1, 2)


@WRITERS
def test_before_a_commit_nothing_is_kept(arm, write):
    arm("orders.commit.before:1:raise")
    key = uuid.uuid4().hex
    with pytest.raises(OperationalError, match=r"chaos at orders\.commit\.before"):
        write(key)
    assert not is_there(key)


@WRITERS
@pytest.mark.parametrize("action", ["raise", "drop"])
def test_after_a_commit_its_reply_is_lost_and_all_is_kept(arm, write, action):
    arm(f"orders.commit.after:1:{action}")
    key = uuid.uuid4().hex
    with pytest.raises(OperationalError):
        write(key)
    assert is_there(key)


@WRITERS
def test_a_session_dropped_before_a_commit_leaves_nothing(arm, write):
    arm("orders.commit.before:1:drop")
    key = uuid.uuid4().hex
    with pytest.raises(OperationalError):
        write(key)
    assert not is_there(key)


def test_a_dropped_session_is_another_one_afterwards(arm):
    arm("x.before:1:drop")
    [before] = rows("orders", "SELECT pg_backend_pid()")
    chaos.call("x", int)
    with pytest.raises(OperationalError):
        rows("orders", "SELECT 1")
    drop_broken_connections()
    [after] = rows("orders", "SELECT pg_backend_pid()")
    assert before != after


def test_what_wrote_nothing_is_no_commit(arm, tmp_path):
    arm("", record=str(tmp_path / "points"))
    with transaction("orders"):
        rows("orders", "SELECT 1")
    changed("orders", "DELETE FROM shop_idempotencykey WHERE key = 'nobody has it'")
    assert not (tmp_path / "points").exists()


def test_the_nth_time_is_meant_and_only_that(arm):
    arm("orders.commit.*:3:raise")
    keys = [uuid.uuid4().hex for _ in range(3)]
    insert(keys[0])
    with pytest.raises(OperationalError):
        insert(keys[1])
    insert(keys[2])
    assert [is_there(key) for key in keys] == [True, False, True]


def test_a_chance_is_taken_about_as_often_as_it_says(arm):
    arm("x.before:p=0.2:raise", seed=1)
    struck = 0
    for _ in range(1000):
        try:
            chaos.call("x", int)
        except faults.Injected:
            struck += 1
    assert 120 < struck < 280


def test_a_delay_takes_its_time(arm):
    arm("x.after:1:delay=0.2")
    began = time.monotonic()
    chaos.call("x", int)
    assert time.monotonic() - began >= 0.2


def test_an_outage_at_a_call_is_one_to_the_caller(arm):
    arm("call.inventory.quote.after:p=1:raise")
    with pytest.raises(Unavailable):
        inventory.quote(skus=())


def test_an_order_passes_every_kind_of_point(arm, tmp_path):
    file = tmp_path / "points"
    arm("", record=str(file))
    assert InProcess().order(stocked(1)).status == 201
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
        [sys.executable, "-c", ASK], cwd=configured.BASE_DIR, env=os.environ | settings | environment, check=False
    ).returncode


def test_a_process_is_killed_where_the_environment_says_so(tmp_path):
    file = tmp_path / "points"
    assert run_with(CHAOS="call.inventory.quote.after:1:kill", CHAOS_RECORD=str(file)) == -9
    assert file.read_text().split() == ["call.inventory.quote.before", "call.inventory.quote.after"]


def test_a_process_that_never_gets_there_lives():
    assert run_with(CHAOS="call.inventory.quote.after:9:kill") == 0


def test_faults_are_refused_where_an_order_may_be_real(settings):
    settings.CHAOS = "orders.commit.after:1:kill"
    assert checks.faults_hit_test_databases_only() == []
    settings.DATABASES["users"]["NAME"], name = "satsuma_users", settings.DATABASES["users"]["NAME"]
    found = checks.faults_hit_test_databases_only()
    settings.DATABASES["users"]["NAME"] = name
    assert [(one.id, one.msg) for one in found] == [("config.E005", faults.REFUSED)]
    settings.CHAOS = ""
    assert checks.faults_hit_test_databases_only() == []
