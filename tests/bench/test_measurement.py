"""CPU of process trees, statements and transactions are counted, and the figures are compared with the targets."""

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from types import SimpleNamespace

import psycopg
import pytest

from bench import chart, report
from bench.asyncpg_control.system import list_missing_packages
from bench.measure import Figures, median_round
from bench.processes import Process, cpu
from bench.report import Row
from bench.systems import ROOT, Layout
from tests.concurrency import eventually

# Uses 0.3 s of CPU and exits.
BUSY = "import time; [None for _ in iter(time.process_time, 0) if time.process_time() > 0.3 and exit()]"
# Waits for such a child, and continues to run without using CPU.
PARENT = (
    f"import subprocess, sys, time; subprocess.run([sys.executable, '-c', {BUSY!r}]); print(flush=True); time.sleep(60)"
)


def figures(**changes):
    plain = Figures(
        per_second=100, p50=1, p95=2, p99=3, app_cpu=4, database_cpu=5, loader_cpu=0.1, statements=8, frame=2, writes=1,
        fsyncs=1, wal_kilobytes=3, drain=0.1, count=500,
    )  # fmt: skip
    return Figures(**vars(plain) | changes)


def rows(**speeds):
    """Build rows from the throughputs of Satsuma and the control: `rows(orders=(40, 100))`."""
    return [
        Row(operation, 8, system, figures(per_second=speed))
        for operation, pair in speeds.items()
        for system, speed in zip(("satsuma", "control"), pair, strict=True)
    ]


def test_the_cpu_of_a_child_counts_also_after_it_has_exited():
    process = Process([sys.executable, "-c", PARENT], {}, stdout=subprocess.PIPE)
    try:
        process.child.stdout.readline()
        assert cpu(process.pid) >= 0.3
    finally:
        process.stop()


def test_a_frozen_process_uses_no_cpu():
    process = Process([sys.executable, "-c", "while True: pass"], {})
    try:
        eventually(lambda: cpu(process.pid) > 0.1)
        process.freeze()
        eventually(lambda: _state(process.pid) == "T")
        before = cpu(process.pid)
        [None for _ in range(3_000_000)]
        assert cpu(process.pid) == before
        process.thaw()
        eventually(lambda: cpu(process.pid) > before)
    finally:
        process.stop()


def _state(pid):
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0]


def test_statements_and_writes_of_others_are_counted_but_not_our_own(postgres):
    postgres.connection.execute("CREATE ROLE other_role LOGIN")
    postgres.connection.execute("CREATE TABLE IF NOT EXISTS counted (n int); GRANT ALL ON counted TO other_role")
    postgres.forget()
    before = postgres.writes()
    with psycopg.connect(postgres.url("postgres", "other_role"), autocommit=True) as connection:
        for n in range(3):
            connection.execute(f"INSERT INTO counted VALUES ({n})")
    postgres.connection.execute("SELECT count(*) FROM counted")
    found = {statement.text: statement.calls for statement in postgres.statements() if "counted" in statement.text}
    assert found == {"INSERT INTO counted VALUES ($1)": 3}
    assert postgres.writes() - before >= 3


def test_what_a_commit_writes_to_the_log_is_counted(postgres):
    before = postgres.disk_use()
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
        connection.execute("SELECT pg_logical_emit_message(true, 'test', repeat('x', 5000))")
    after = postgres.disk_use()
    assert after.wal_bytes - before.wal_bytes >= 5000
    assert after.fsyncs == before.fsyncs  # this server is not durable


def test_the_median_round_counts():
    assert median_round([figures(p99=9), figures(p99=1), figures(p99=4)]).p99 == 4


@pytest.mark.parametrize(("satsuma", "reached"), [(70, True), (69, False)])
def test_a_target_is_compared_with_the_control_of_the_same_run(satsuma, reached):
    [verdict] = report.verdicts(rows(orders=(satsuma, 100)), {})
    assert (verdict.value, verdict.reached) == (satsuma / 100, reached)


@pytest.mark.parametrize(
    ("operation", "speed", "reached"), [("list", 180, True), ("list", 179, False), ("detail", 150, True)]
)
def test_reads_are_compared_with_fastapi_and_asyncpg_in_the_same_run(operation, speed, reached):
    fast = Row(operation, 8, "asyncpg", figures(per_second=100))
    [verdict] = report.verdicts([Row(operation, 8, "satsuma", figures(per_second=speed)), fast], {})
    assert (verdict.name, verdict.reached) == (f"{operation}: throughput, of FastAPI + asyncpg's", reached)


def test_the_packages_that_the_second_control_lacks_are_named():
    assert list_missing_packages(("django", "no_such_package")) == ["no_such_package"]


@pytest.mark.parametrize(("latency", "reached"), [(2.5, True), (2.6, False)])
def test_the_split_shop_is_compared_with_the_monolith(latency, reached):
    split = Row("orders", 8, "split", figures(p50=latency, app_cpu=13, database_cpu=5))
    [verdict] = report.verdicts([Row("orders", 8, "satsuma", figures(p50=1)), split], {})
    assert (verdict.value, verdict.reached) == (latency, reached)
    assert verdict.note.startswith("2.00 times the CPU; published: up to 15 times the time")


@pytest.mark.parametrize(("now", "reached"), [(97, True), (96, False)])
def test_a_revision_measured_in_the_same_run_is_compared_with_the_present_files(now, reached):
    before = Row("orders", 8, "before", figures(per_second=100, app_cpu=13, database_cpu=5))
    [verdict] = report.verdicts([Row("orders", 8, "satsuma", figures(per_second=now)), before], {})
    assert (verdict.value, verdict.reached) == (now / 100, reached)
    assert verdict.note == "0.50 times the CPU"


def test_a_shop_that_slows_down_with_its_size_is_reported():
    slow = [Row("list", 8, "satsuma", figures(per_second=70)), Row("list", 8, "small", figures(per_second=100))]
    [verdict] = report.verdicts(slow, {})
    assert (round(verdict.value, 2), verdict.reached) == (1.43, False)


def test_an_expensive_interface_call_is_reported():
    found = report.verdicts([], {"plain": 1.0, "local": 2.5, "loopback": 9.0, "remote": 501.0})
    assert [(verdict.value, verdict.reached) for verdict in found] == [(1.5, False), (501.0, False)]


def test_an_interface_call_is_measured_through_each_transport():
    done = subprocess.run([sys.executable, "-m", "bench.calls"], capture_output=True, cwd=ROOT, check=True)
    assert json.loads(done.stdout).keys() == {"plain", "local", "loopback", "remote"}


def test_the_chart_shows_every_number_and_target():
    found = rows(orders=(81, 100), list=(2_345, 1_000))
    plan = SimpleNamespace(layout=Layout(), products=10, orders=20, small=5, seconds=1, rounds=1, changes=10)
    document = report.document(plan, found, {}, [], report.verdicts(found, {}))
    text = [element.text for element in ET.fromstring(chart.draw(document)).iter() if element.text]
    for shown in ("81.0", "2,345", "Orders per second, every event handled", "0.81, target ≥ 0.7"):
        assert shown in text
