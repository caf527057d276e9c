"""The sweep: the process is killed at the points of every flow, and nothing is lost, duplicated or left unfinished.

The points of a flow are those that a run without faults reaches. Their number is in points.json and may not decrease. If a
change of the shop decreases it for a good reason, run this file with UPDATE_POINTS=1 under both transports.

The suite kills at every fifth point with local transport, and at every eleventh with loopback; `make sweep` at every point
(SWEEP_EVERY=1). Some points of `buy` and `cancel` also have an outage or a dropped session: where local has the one, loopback
has the other.
"""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from django.conf import settings

from shop.db.database import execute, fetch_rows
from tests.chaos import final_states
from tests.chaos.experiment import (
    Experiment,
    FaultInjection,
    list_injections,
    percentiles,
    run_experiment,
    run_in_batches,
)
from tests.chaos.flows import FLOWS, STOCK, Purchase
from tests.chaos.forkserver import ForkServer
from tests.chaos.row_locks import UnfinishedRowLocks
from tests.factories import create_sku

pytestmark = pytest.mark.usefixtures("verified")

POINT_COUNTS_FILE = Path(__file__).with_name("points.json")
LOCAL = settings.TRANSPORT == "local"
# Odd, so that points before and points after an action are in the sample.
EVERY = int(os.environ.get("SWEEP_EVERY") or (5 if LOCAL else 11))
EVERY_NTH_OUTAGE = 3  # the same for outages and dropped sessions; odd as well
ACTIONS = ("raise", "drop") if LOCAL else ("drop", "raise")  # at points before an action, and after it
CANCELS = [
    flow for flow, definition in FLOWS.items() if len(definition.answers) == 2
]  # a second request cancels the order
DUE_CHECKOUTS_TIMER = "orders.carry_on_due_checkouts"


@pytest.fixture(scope="module")
def injections(server, tmp_path_factory):
    """For each flow, return a kill at each point that a run without faults reaches."""
    return {flow: recorded(server, flow, tmp_path_factory.mktemp("points") / flow) for flow in FLOWS}


def recorded(server: ForkServer, flow: str, file: Path) -> list[FaultInjection]:
    with UnfinishedRowLocks() as locks:
        locks.lock_unfinished()
        purchase = Purchase.of(flow, create_sku(STOCK))
        outcome = server.run(purchase, record=str(file))
    assert outcome["is_finished"], outcome
    if flow in CANCELS:  # before or after the capture, as the flow requires
        [state] = final_states.load_final_states([purchase.email])[purchase.email]
        assert state == purchase.definition.final_states[0]
    return list_injections(flow, file.read_text().split())


def test_no_flow_passes_fewer_points_than_before(injections, capsys):
    now = {flow: len(points) for flow, points in injections.items()}
    known = json.loads(POINT_COUNTS_FILE.read_text()) if POINT_COUNTS_FILE.exists() else {}
    if os.environ.get("UPDATE_POINTS"):
        known |= {settings.TRANSPORT: now}
        POINT_COUNTS_FILE.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n")
    with capsys.disabled():
        print(f"\n{settings.TRANSPORT}: {sum(now.values())} points {now}")
    before = known[settings.TRANSPORT]
    assert {flow: now.get(flow, 0) for flow in before if now.get(flow, 0) < before[flow]} == {}


def test_a_kill_in_a_request_is_recovered_by_a_running_engine(server, mail_server, injections, capsys):
    here = [s for flow, points in injections.items() if flow not in CANCELS for s in points if s.in_request][::EVERY]
    seconds = run_experiment(server, mail_server, here, engine_is_running=True)
    with capsys.disabled():
        print(f"\n{len(here)} kills in requests; {percentiles(seconds)} after the kill")


def test_a_kill_in_the_engine_or_a_cancel_is_recovered_by_the_next_process(server, mail_server, injections, capsys):
    here = [s for flow, points in injections.items() for s in points if flow in CANCELS or not s.in_request][::EVERY]
    seconds = run_in_batches(server, mail_server, here)
    with capsys.disabled():
        print(f"\n{len(here)} kills in the engine and in cancels; {percentiles(seconds)} after another process came")


def test_an_outage_at_any_point_is_recovered_and_answered_as_declared(server, mail_server, injections, capsys):
    known = {(s.point, s.nth) for s in injections["buy"] if s.in_request}
    points = injections["buy"] + [s for s in injections["cancel"] if (s.point, s.nth) not in known]
    here = [replace(s, action=ACTIONS[s.point.endswith(".after")]) for s in points[:: max(EVERY, EVERY_NTH_OUTAGE)]]
    seconds = run_in_batches(server, mail_server, here)
    with capsys.disabled():
        print(f"\n{len(here)} outages and dropped sessions; {percentiles(seconds)} after another process came")


def injection_at(injections: list[FaultInjection], point: str) -> FaultInjection:
    return next(injection for injection in injections if injection.point == point)


def test_control_without_the_timer_of_due_checkouts_abandoned_orders_stay_unfinished(server, mail_server, injections):
    experiment = Experiment(server, mail_server, [injection_at(injections["buy"], "call.inventory.reserve.before")])
    experiment.inject_faults()
    with (
        experiment.run_engine_process(without=DUE_CHECKOUTS_TIMER),
        pytest.raises(AssertionError, match="not finished"),
    ):
        experiment.recover(limit=8)  # a lease lasts 5 s
    with experiment.run_engine_process():
        experiment.recover()


def test_control_a_second_charge_and_a_second_mail_are_reported(server, mail_server, injections):
    experiment = Experiment(server, mail_server, [injection_at(injections["buy"], "provider.sandbox.confirm.after")])
    experiment.inject_faults()
    with experiment.run_engine_process():
        experiment.recover()
    assert experiment.find_problems() == []
    again = "UPDATE payments_sandboxintent SET charges = charges + %s WHERE reference = %s"
    [[order_id]] = final_states.order_ids_by_email([experiment.purchases[0].email]).values()
    [(reference,)] = fetch_rows("payments", "SELECT reference FROM payments_payment WHERE order_id = %s", [order_id])
    execute("payments", again, [1, reference])
    mail_server.mails.append(mail_server.mails_to(experiment.purchases[0].email)[0])
    problems = experiment.find_problems()
    execute("payments", again, [-1, reference])
    assert [("charges=2" in problem, "mails were received" in problem) for problem in problems] == [
        (True, False),
        (False, True),
    ]
