"""The sweep in five processes: at every point of every flow the process that reaches it is killed, caller or callee.

The other four continue without its response. The suite tests a sample of the points, `make sweep` all of them
(SWEEP_EVERY=1). The number of points is in points.json, as that of the other sweep. This file runs with loopback binding only
(conftest.py): the binding makes no difference between processes.
"""

import json
import os
from collections import Counter
from dataclasses import replace

import pytest
from django.conf import settings

from tests.chaos.experiment import Experiment, FaultInjection, percentiles, run_in_batches
from tests.chaos.flows import FLOWS, STOCK, Purchase
from tests.chaos.row_locks import UnfinishedRowLocks
from tests.chaos.split_server import SplitServer
from tests.chaos.test_sweep import POINT_COUNTS_FILE
from tests.factories import create_sku

pytestmark = pytest.mark.usefixtures("verified")

EVERY = int(
    os.environ.get("SWEEP_EVERY") or 29
)  # odd, so that points before and points after an action are in the sample


@pytest.fixture(scope="module")
def split_server(mail_server):
    server = SplitServer(
        EMAIL_PORT=str(mail_server.port), RECONCILE_SECONDS="0.2", EMAIL_UNKNOWN_OUTCOME_PAUSE_SECONDS="0.1"
    )
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def injections(split_server, tmp_path_factory):
    """For each flow, return a kill at each point that one of the five processes reaches in a run without faults."""
    return {flow: recorded(split_server, flow, tmp_path_factory.mktemp("points") / flow) for flow in FLOWS}


def recorded(server: SplitServer, flow: str, file) -> list[FaultInjection]:
    with UnfinishedRowLocks() as locks:
        locks.lock_unfinished()
        outcome = server.run(Purchase.of(flow, create_sku(STOCK)), record=str(file))
    assert outcome["is_finished"], outcome
    return [
        injection for context in settings.ALL_CONTEXTS
        for injection in injections_of(flow, context, file.with_name(f"{flow}-{context}").read_text().split())
    ]  # fmt: skip


def injections_of(flow: str, context: str, points: list[str]) -> list[FaultInjection]:
    """Return a kill at each of the points of one process."""
    times, injections, mail_is_out = Counter(), [], False
    engine = points.index("engine")
    for position, point in enumerate(points):
        if position == engine:
            continue
        times[point] += 1
        mail_is_out = point == "smtp.send.after" or (mail_is_out and point != "notifications.commit.after")
        injections.append(
            FaultInjection(
                flow, f"{context}/{point}", times[point], in_request=position < engine, may_duplicate_mail=mail_is_out
            )
        )
    return injections


def sample(injections: list[FaultInjection], share: int) -> list[FaultInjection]:
    """Return every `share`-th injection, so that every flow is in the sample."""
    return injections[share // 2 :: share]


def test_no_flow_passes_fewer_points_than_before(injections, capsys):
    now = {flow: len(points) for flow, points in injections.items()}
    known = json.loads(POINT_COUNTS_FILE.read_text())
    if os.environ.get("UPDATE_POINTS"):
        POINT_COUNTS_FILE.write_text(json.dumps(known | {"split": now}, indent=2, sort_keys=True) + "\n")
    with capsys.disabled():
        print(f"\nsplit: {sum(now.values())} points {now}")
    before = json.loads(POINT_COUNTS_FILE.read_text())["split"]
    assert {flow: now.get(flow, 0) for flow in before if now.get(flow, 0) < before[flow]} == {}


def test_a_kill_of_any_process_is_recovered(split_server, mail_server, injections, capsys):
    here = sample([injection for points in injections.values() for injection in points], EVERY)
    seconds = run_in_batches(split_server, mail_server, here)
    with capsys.disabled():
        print(f"\n{len(here)} kills in the split; {percentiles(seconds)} after other processes started")


def test_a_dead_callee_delays_its_caller_no_longer_than_declared(split_server, mail_server, injections):
    points = ("inventory/call.inventory.quote.after", "payments/call.payments.authorize.after")
    experiment = Experiment(
        split_server, mail_server, [next(s for s in injections["buy"] if s.point == point) for point in points]
    )
    experiment.inject_faults()
    assert [outcome["answers"] for outcome in experiment.outcomes] == [[503], [202]]
    with experiment.run_engine_process():
        experiment.repeat_requests_until_final()
        experiment.recover()
    assert experiment.find_problems() == []


def test_a_message_lost_on_the_wire_is_recovered(split_server, mail_server, injections, capsys):
    wire = [s for points in injections.values() for s in points if "/wire." in s.point]
    here = [replace(injection, action="raise") for injection in sample(wire, max(1, EVERY // 3))]
    seconds = run_in_batches(split_server, mail_server, here)
    with capsys.disabled():
        print(
            f"\n{len(here)} requests and responses lost between processes; {percentiles(seconds)} after other processes came"
        )
