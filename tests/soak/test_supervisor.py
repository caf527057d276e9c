"""The supervisor of the soak test's processes, and faults in one of them."""

import signal
import sys
import time
from pathlib import Path

import pytest

from ops.console.request_log import RequestLog
from ops.launch import valkey
from ops.launch.postgres import PostgresServer
from tests.concurrency import eventually
from tests.ports import reserve_port
from tests.soak import workers
from tests.soak.__main__ import parse_arguments
from tests.soak.fault_injector import FaultInjector
from tests.soak.plan import Fault
from tests.soak.supervisor import Process, Supervisor
from tests.soak.workers import Worker, find_child_pids


@pytest.mark.parametrize("count", ["0", "-3", "many"])
def test_a_soak_has_at_least_one_order(count, capsys):
    with pytest.raises(SystemExit):
        parse_arguments([f"--orders={count}"])
    assert "not a number greater than 0" in capsys.readouterr().err


@pytest.fixture
def supervisor():
    supervisor = Supervisor()
    yield supervisor
    supervisor.close()


def make_process(tmp_path, code: str) -> Process:
    return Process("engine-1", [sys.executable, "-c", code], {}, tmp_path)


def test_a_process_that_exits_is_reported_and_restarted(supervisor, tmp_path):
    supervisor.add(make_process(tmp_path, "raise SystemExit(3)"))
    eventually(lambda: len(supervisor.ended) >= 2)
    assert set(supervisor.ended) == {"engine-1 ended by itself with status 3"}


def test_a_killed_process_is_not_reported_and_starts_on_request(supervisor, tmp_path):
    sleeper = make_process(tmp_path, "import time; time.sleep(60)")
    supervisor.add(sleeper)
    supervisor.await_up()
    first = sleeper.popen
    sleeper.kill()
    assert first.poll() == -signal.SIGKILL
    supervisor.start_later("engine-1", 0)
    supervisor.await_up()
    assert sleeper.popen.pid != first.pid
    assert supervisor.ended == []


WORKER_WITH_PARENT = """
import subprocess, sys, time
child = [sys.executable, "-c", "import time; print('\\"engine_started\\"', flush=True); time.sleep(60)"]
while True:
    subprocess.Popen(child, start_new_session=True).wait()
"""


def test_a_fault_on_a_worker_includes_its_parent(supervisor, tmp_path):
    worker = Worker("worker-orders", [sys.executable, "-c", WORKER_WITH_PARENT], {}, tmp_path)
    supervisor.add(worker)
    supervisor.await_up()
    pids = [worker.popen.pid, *find_child_pids(worker.popen.pid)]
    assert len(pids) == 2
    worker.signal(signal.SIGSTOP)
    eventually(lambda: [state(pid) for pid in pids] == ["T", "T"])
    worker.signal(signal.SIGCONT)
    eventually(lambda: [state(pid) for pid in pids] == ["S", "S"])
    worker.kill()
    eventually(lambda: {state(pid) for pid in pids} <= {"", "Z"})
    supervisor.start_later("worker-orders", 0)
    eventually(worker.is_alive)
    supervisor.await_up()
    assert find_child_pids(worker.popen.pid), "it is up only when it has logged so since this start"


def state(pid: int) -> str:
    """Return the state of a process as ps shows it; empty if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


@pytest.fixture
def inject_fault(supervisor, tmp_path):
    """Inject faults into a broker, without buyers."""
    supervisor.add(workers.create_broker("broker-1", {}, tmp_path, reserve_port()))
    supervisor.await_up()
    history = RequestLog(tmp_path / "history.jsonl")
    nothing = dict.fromkeys(("database", "prefix", "mail", "progress", "recovery"))
    faults = FaultInjector([], supervisor=supervisor, history=history, **nothing)
    yield lambda kind, seconds: faults.inject(Fault(at=0, kind=kind, target="broker-1", seconds=seconds))
    history.close()


@pytest.mark.parametrize(("kind", "seconds", "dies", "forgets"), [
    ("flush", 0.0, False, True), ("broker-kill", 0.2, True, True), ("broker-pause", 0.5, False, False),
])  # fmt: skip
def test_a_broker_recovers_after_flush_kill_and_pause(supervisor, inject_fault, kind, seconds, dies, forgets):
    broker = supervisor.processes["broker-1"]
    first = broker.popen
    valkey.send_command(broker.port, "SET message 1")
    began = time.monotonic()
    inject_fault(kind, seconds)
    eventually(broker.is_up)
    assert time.monotonic() - began >= seconds
    assert (broker.popen is not first) == dies
    assert valkey.send_command(broker.port, "EXISTS message") == (":0" if forgets else ":1")
    assert supervisor.ended == []


def test_a_killed_database_server_starts_again(tmp_path):
    server = PostgresServer(tmp_path)
    server.start()
    try:
        for _ in range(3):
            server.kill()
            server.start()
            assert server.is_running()
    finally:
        server.stop()
