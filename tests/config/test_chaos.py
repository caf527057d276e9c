"""manage.py chaos, and what keeps the soak's processes."""

import json
import signal
import sys
import time
import uuid
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from config import valkey
from config.embedded import Server
from config.soak import workers
from config.soak.faults import Faults
from config.soak.history import History
from config.soak.plan import Fault
from config.soak.supervisor import Process, Supervisor, free_port
from config.soak.workers import Worker, children
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


WORKER_UNDER_ITS_PARENT = """
import subprocess, sys, time
child = [sys.executable, "-c", "import time; print('\\"engine_started\\"', flush=True); time.sleep(60)"]
while True:
    subprocess.Popen(child, start_new_session=True).wait()
"""


def test_what_befalls_a_worker_befalls_its_parent_too(supervisor, tmp_path):
    worker = Worker("worker-orders", [sys.executable, "-c", WORKER_UNDER_ITS_PARENT], {}, tmp_path)
    supervisor.add(worker)
    supervisor.await_up()
    pids = [worker.popen.pid, *children(worker.popen.pid)]
    assert len(pids) == 2
    worker.signal(signal.SIGSTOP)
    eventually(lambda: [state(pid) for pid in pids] == ["T", "T"], patience=30)
    worker.signal(signal.SIGCONT)
    eventually(lambda: [state(pid) for pid in pids] == ["S", "S"], patience=30)
    worker.kill()
    eventually(lambda: {state(pid) for pid in pids} <= {"", "Z"}, patience=30)
    supervisor.start_later("worker-orders", 0)
    eventually(worker.lives, patience=30)
    supervisor.await_up()
    assert children(worker.popen.pid), "up is who has said so since this start"


def state(pid: int) -> str:
    """As ps has it; empty where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


@pytest.fixture
def strike(supervisor, tmp_path):
    """Strike the broker of a soak that buys nothing."""
    supervisor.add(workers.broker("broker-1", {}, tmp_path, free_port()))
    supervisor.await_up()
    history = History(tmp_path / "history.jsonl")
    nothing = dict.fromkeys(("database", "prefix", "mail", "progress", "recovery"))
    faults = Faults([], supervisor=supervisor, history=history, **nothing)
    yield lambda kind, seconds: faults._strike(Fault(at=0, kind=kind, target="broker-1", seconds=seconds))
    history.close()


@pytest.mark.parametrize(("kind", "seconds", "dies", "forgets"), [
    ("flush", 0.0, False, True), ("broker-kill", 0.2, True, True), ("broker-pause", 0.5, False, False),
])  # fmt: skip
def test_a_broker_forgets_dies_or_says_nothing_and_is_there_again(supervisor, strike, kind, seconds, dies, forgets):
    broker = supervisor.processes["broker-1"]
    first = broker.popen
    valkey.tell(broker.port, "SET message 1")
    began = time.monotonic()
    strike(kind, seconds)
    eventually(broker.is_up, patience=30)
    assert time.monotonic() - began >= seconds
    assert (broker.popen is not first) == dies
    assert valkey.tell(broker.port, "EXISTS message") == (":0" if forgets else ":1")
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
