"""manage.py chaos, and what keeps the soak's processes."""

import json
import signal
import sys
import uuid
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from config.embedded import Server
from config.soak.supervisor import Process, Supervisor
from shop.engine import run_until_idle
from tests.inventory.stock import stocked
from tests.shopper import InProcess
from tests.threads import eventually


def told(*arguments: str) -> str:
    out = StringIO()
    call_command("chaos", "story", *arguments, stdout=out)
    return out.getvalue()


def test_the_story_of_an_order_is_told_by_everybody(tmp_path):
    key = uuid.uuid4().hex
    order = InProcess().order(stocked(1), key=key).body
    run_until_idle()
    facts = {"request": 1, "journey": 7, "purpose": "order", "key": key}
    history = tmp_path / "history.jsonl"
    history.write_text(
        json.dumps({"at": 1.0, "event": "answered", "status": 201, "answer": "it is yours"} | facts) + "\n"
    )
    story = told(order["id"], "--history", str(history))
    parts = ["the reservation is made", "sale -1", "the payment sb_", "booked capture", "orders.order_confirmed"]
    parts += ["inventory inbox", "order_confirmed by email", "it is yours", "provider:", f"order {order['number']}"]
    assert [part for part in parts if part not in story] == []
    moments = [line.split()[0] for line in story.splitlines() if line[2:3] == ":"]
    assert len(moments) > 15
    assert moments[1:] == sorted(moments[1:]), "in time order; the buyer's note is of 1970"


def test_there_is_no_story_of_an_order_that_nobody_knows():
    with pytest.raises(CommandError, match="no database knows"):
        told(str(uuid.uuid4()))


def test_what_is_no_history_is_refused(tmp_path):
    (tmp_path / "picture").write_text("not JSON")
    with pytest.raises(CommandError, match="cannot be read as a history"):
        told(str(uuid.uuid4()), "--history", str(tmp_path / "picture"))


@pytest.mark.parametrize("count", ["0", "-3", "many"])
def test_a_soak_has_at_least_one_order(count):
    with pytest.raises(CommandError, match="not a number from 1 up"):
        call_command("chaos", "run", "--orders", count)


@pytest.fixture
def supervisor():
    supervisor = Supervisor()
    yield supervisor
    supervisor.close()


def process(tmp_path, code: str) -> Process:
    return Process("engine-1", [sys.executable, "-c", code], {}, tmp_path)


def test_a_process_that_ends_by_itself_is_a_finding_and_is_replaced(supervisor, tmp_path):
    supervisor.add(process(tmp_path, "raise SystemExit(3)"))
    eventually(lambda: supervisor.ended == ["engine-1 ended by itself with status 3"] * 2, patience=30)


def test_a_process_that_is_killed_is_no_finding_and_is_started_when_told(supervisor, tmp_path):
    sleeper = process(tmp_path, "import time; time.sleep(60)")
    supervisor.add(sleeper)
    supervisor.await_up()
    first = sleeper.popen
    sleeper.kill()
    assert first.poll() == -signal.SIGKILL
    supervisor.start_later("engine-1", 0)
    supervisor.await_up()
    assert sleeper.popen.pid != first.pid
    assert supervisor.ended == []


def test_a_database_that_was_killed_is_dead_at_once_and_starts_again(tmp_path):
    server = Server(tmp_path)
    server.start()
    try:
        for _ in range(3):
            server.kill()
            server.start()
            assert server.running()
    finally:
        server.stop()
