"""The sweep in five processes: at every point of every flow the process that is there is killed, whoever calls it or is called.

The four others live, and act on what they did not hear. Each EVERY-th point, all of them with SPLIT_EVERY=1 (make sweep). The
number of points is in points.json, as that of the other sweep. It belongs to the run with loopback binding (conftest.py): the
binding means nothing between processes, and the run with local binding sweeps one process point by point.
"""

import json
import os
from collections import Counter
from dataclasses import replace

import pytest
from django.conf import settings

from tests.chaos.battle import Battle, Strike, in_batches, percentiles
from tests.chaos.flows import FLOWS, STOCK, Purchase
from tests.chaos.quarantine import Quarantine
from tests.chaos.split import SplitServer
from tests.chaos.test_sweep import COUNTS
from tests.inventory.stock import stocked

pytestmark = pytest.mark.usefixtures("verified")

EVERY = int(os.environ.get("SPLIT_EVERY") or 29)  # odd, so that it meets befores and afters


@pytest.fixture(scope="module")
def split(postbox):
    server = SplitServer(EMAIL_PORT=str(postbox.port), RECONCILE_SECONDS="0.2")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def strikes(split, tmp_path_factory):
    """For each flow, a kill at each point that one of the five passes when nothing happens to it."""
    return {flow: recorded(split, flow, tmp_path_factory.mktemp("points") / flow) for flow in FLOWS}


def recorded(server: SplitServer, flow: str, file) -> list[Strike]:
    with Quarantine() as quarantine:
        quarantine.hold()
        outcome = server.run(Purchase.of(flow, stocked(STOCK)), record=str(file))
    assert outcome["rest"], outcome
    return [
        strike for context in settings.ALL_CONTEXTS
        for strike in passed(flow, context, file.with_name(f"{flow}-{context}").read_text().split())
    ]  # fmt: skip


def passed(flow: str, context: str, points: list[str]) -> list[Strike]:
    """Where this context's process can be struck."""
    times, strikes, mail_is_out = Counter(), [], False
    engine = points.index("engine")
    for position, point in enumerate(points):
        if position == engine:
            continue
        times[point] += 1
        mail_is_out = point == "smtp.send.after" or (mail_is_out and point != "notifications.commit.after")
        strikes.append(
            Strike(flow, f"{context}/{point}", times[point], in_request=position < engine, mail_is_out=mail_is_out)
        )
    return strikes


def every(strikes: list[Strike], share: int) -> list[Strike]:
    """Spread over all of them, so that each kind of point comes up."""
    return strikes[share // 2 :: share]


def test_no_flow_passes_fewer_points_than_it_did(strikes, capsys):
    now = {flow: len(points) for flow, points in strikes.items()}
    known = json.loads(COUNTS.read_text())
    if os.environ.get("UPDATE_POINTS"):
        COUNTS.write_text(json.dumps(known | {"split": now}, indent=2, sort_keys=True) + "\n")
    with capsys.disabled():
        print(f"\nsplit: {sum(now.values())} points {now}")
    before = json.loads(COUNTS.read_text())["split"]
    assert {flow: now.get(flow, 0) for flow in before if now.get(flow, 0) < before[flow]} == {}


def test_a_kill_of_any_of_the_five_is_made_good(split, postbox, strikes, capsys):
    here = every([strike for points in strikes.values() for strike in points], EVERY)
    seconds = in_batches(split, postbox, here)
    with capsys.disabled():
        print(f"\n{len(here)} kills in the split; {percentiles(seconds)} after other processes came")


def test_a_callee_that_dies_costs_its_caller_no_more_than_is_declared(split, postbox, strikes):
    points = ("inventory/call.inventory.quote.after", "payments/call.payments.authorize.after")
    battle = Battle(split, postbox, [next(s for s in strikes["buy"] if s.point == point) for point in points])
    battle.strike()
    assert [outcome["answers"] for outcome in battle.outcomes] == [[503], [202]]
    with battle.survivor():
        battle.insist()
        battle.recover()
    assert battle.complaints() == []


def test_what_is_lost_on_the_wire_is_made_good(split, postbox, strikes, capsys):
    wire = [s for points in strikes.values() for s in points if "/wire." in s.point]
    here = [replace(strike, action="raise") for strike in every(wire, max(1, EVERY // 3))]
    seconds = in_batches(split, postbox, here)
    with capsys.disabled():
        print(f"\n{len(here)} requests and answers lost between processes; {percentiles(seconds)} after other processes came")
