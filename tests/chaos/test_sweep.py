"""The sweep: at every point of every flow the process is killed once, and nothing is lost, doubled or left lying.

The points of a flow are what an undisturbed run passes; their number is in points.json and may not fall. Where a change
of the shop makes it fall for a reason, run `UPDATE_POINTS=1 pytest tests/chaos/test_sweep.py` under both transports.
"""

import json
import math
import os
from collections import Counter
from pathlib import Path

import pytest
from django.conf import settings

from tests.chaos.battle import Battle, Strike
from tests.chaos.flows import FLOWS, STOCK, Purchase
from tests.chaos.forkserver import ForkServer
from tests.chaos.quarantine import Quarantine
from tests.inventory.stock import stocked
from tests.notifications.postbox import Postbox

COUNTS = Path(__file__).with_name("points.json")
BATCH = 40  # purchases that one survivor has to carry on at once
EVERY = 3


@pytest.fixture(scope="module")
def postbox():
    postbox = Postbox()
    postbox.start()
    yield postbox
    postbox.stop()


@pytest.fixture(scope="module")
def server(postbox):
    server = ForkServer(EMAIL_PORT=str(postbox.port), RECONCILE_SECONDS="0.2")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def strikes(server, tmp_path_factory):
    """For each flow, a kill at each point that it passes when nothing happens to it."""
    return {flow: recorded(server, flow, tmp_path_factory.mktemp("points") / flow) for flow in FLOWS}


def recorded(server: ForkServer, flow: str, file: Path) -> list[Strike]:
    with Quarantine() as quarantine:
        quarantine.hold()
        outcome = server.run(Purchase.of(flow, stocked(STOCK)), record=str(file))
    assert outcome["rest"], outcome
    passed, times, strikes, mail_is_out = file.read_text().split(), Counter(), [], False
    engine = passed.index("engine")
    for position, point in enumerate(passed):
        if position != engine:
            times[point] += 1
            mail_is_out = point == "smtp.send.after" or (mail_is_out and point != "notifications.commit.after")
            strikes.append(Strike(flow, point, times[point], in_request=position < engine, mail_is_out=mail_is_out))
    return strikes


def test_no_flow_passes_fewer_points_than_it_did(strikes, capsys):
    now = {flow: len(points) for flow, points in strikes.items()}
    known = json.loads(COUNTS.read_text()) if COUNTS.exists() else {}
    if os.environ.get("UPDATE_POINTS"):
        COUNTS.write_text(json.dumps(known | {settings.TRANSPORT: now}, indent=2) + "\n")
    with capsys.disabled():
        print(f"\n{settings.TRANSPORT}: {sum(now.values())} points {now}")
    before = json.loads(COUNTS.read_text())[settings.TRANSPORT]
    assert {flow for flow in before if now.get(flow, 0) < before[flow]} == set()


def fought(server, postbox, strikes, survivor_is_there=False) -> list[float]:
    battle = Battle(server, postbox, strikes)
    if not survivor_is_there:
        battle.strike()
    with battle.survivor():
        if survivor_is_there:
            battle.strike_beside_a_survivor()
        battle.recover()
        seconds = list(battle.recovered.values())
        battle.insist()
        battle.recover()
    print("CPU", sum(o["cpu"] for o in battle.outcomes), battle.outcomes[-1]["at"] - battle.outcomes[0]["at"]); print(*sorted((round(v,1), round(battle.outcomes[[p.email for p in battle.purchases].index(k)]["at"]-battle.outcomes[-1]["at"],1), battle._names([k])) for k,v in battle.recovered.items())[-12:], sep="\n")
    assert battle.complaints() == []
    return seconds


def percentiles(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    at = {share: ordered[math.ceil(share * len(ordered)) - 1] for share in (0.5, 0.99, 1)}
    return f"p50 {at[0.5]:.1f} s, p99 {at[0.99]:.1f} s, max {at[1]:.1f} s of {len(ordered)}"


def test_a_kill_in_a_request_is_made_good_by_whoever_is_there(server, postbox, strikes, capsys):
    here = [s for flow, points in strikes.items() if flow != "cancel" for s in points if s.in_request]
    seconds = fought(server, postbox, here, survivor_is_there=True)
    with capsys.disabled():
        print(f"\n{len(here)} kills in requests; recovery {percentiles(seconds)}")


def test_a_kill_in_the_engine_or_in_a_cancel_is_made_good_by_the_next(server, postbox, strikes, capsys):
    here = [s for flow, points in strikes.items() for s in points if flow == "cancel" or not s.in_request]
    seconds = []
    for first in range(0, len(here), BATCH):
        seconds += fought(server, postbox, here[first : first + BATCH])
    with capsys.disabled():
        print(f"\n{len(here)} kills in the engine and in cancels; recovery {percentiles(seconds)}")
