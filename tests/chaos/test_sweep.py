"""The sweep: at every point of every flow the process is killed once, and nothing is lost, doubled or left lying.

The points of a flow are what an undisturbed run passes; their number is in points.json and may not fall. Where a change
of the shop makes it fall for a good reason, run this file with UPDATE_POINTS=1 under both transports.
With the local transport each point is a kill, and each SHARE-th of a purchase and of a cancel is also an outage or a
dropped session; with loopback each EVERY-th, and of the two the other one.
"""

import json
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from django.conf import settings

from shop.database import changed, rows
from tests.chaos import aftermath
from tests.chaos.battle import Battle, Strike, fought, in_batches, percentiles
from tests.chaos.flows import FLOWS, STOCK, Purchase
from tests.chaos.forkserver import ForkServer
from tests.chaos.quarantine import Quarantine
from tests.inventory.stock import stocked

pytestmark = pytest.mark.usefixtures("verified")

COUNTS = Path(__file__).with_name("points.json")
LOCAL = settings.TRANSPORT == "local"
EVERY = 1 if LOCAL else 7  # odd, so that it meets befores and afters
SHARE = 3  # every so manieth point, of an outage and of a dropped session; odd as well
ACTIONS = ("raise", "drop") if LOCAL else ("drop", "raise")  # before something, and after it
SWEEPER = "orders.carry_on_due_checkouts"


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
        known |= {settings.TRANSPORT: now}
        COUNTS.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n")
    with capsys.disabled():
        print(f"\n{settings.TRANSPORT}: {sum(now.values())} points {now}")
    before = known[settings.TRANSPORT]
    assert {flow: now.get(flow, 0) for flow in before if now.get(flow, 0) < before[flow]} == {}


def test_a_kill_in_a_request_is_made_good_by_whoever_is_there(server, postbox, strikes, capsys):
    here = [s for flow, points in strikes.items() if flow != "cancel" for s in points if s.in_request][::EVERY]
    seconds = fought(server, postbox, here, survivor_is_there=True)
    with capsys.disabled():
        print(f"\n{len(here)} kills in requests; {percentiles(seconds)} after the kill")


def test_a_kill_in_the_engine_or_in_a_cancel_is_made_good_by_the_next(server, postbox, strikes, capsys):
    here = [s for flow, points in strikes.items() for s in points if flow == "cancel" or not s.in_request][::EVERY]
    seconds = in_batches(server, postbox, here)
    with capsys.disabled():
        print(f"\n{len(here)} kills in the engine and in cancels; {percentiles(seconds)} after another process came")


def test_an_outage_anywhere_is_made_good_and_answered_as_declared(server, postbox, strikes, capsys):
    known = {(s.point, s.nth) for s in strikes["buy"] if s.in_request}
    points = strikes["buy"] + [s for s in strikes["cancel"] if (s.point, s.nth) not in known]
    here = [replace(s, action=ACTIONS[s.point.endswith(".after")]) for s in points[:: max(EVERY, SHARE)]]
    seconds = in_batches(server, postbox, here)
    with capsys.disabled():
        print(f"\n{len(here)} outages and dropped sessions; {percentiles(seconds)} after another process came")


def at(strikes: list[Strike], point: str) -> Strike:
    return next(strike for strike in strikes if strike.point == point)


def test_control_without_the_sweeper_what_was_left_behind_stays_there(server, postbox, strikes):
    battle = Battle(server, postbox, [at(strikes["buy"], "call.inventory.reserve.before")])
    battle.strike()
    with battle.survivor(without=SWEEPER), pytest.raises(AssertionError, match="not at rest"):
        battle.recover(limit=8)  # its lease is over after 5
    with battle.survivor():
        battle.recover()


def test_control_a_second_charge_and_a_second_letter_are_seen(server, postbox, strikes):
    battle = Battle(server, postbox, [at(strikes["buy"], "provider.sandbox.confirm.after")])
    battle.strike()
    with battle.survivor():
        battle.recover()
    assert battle.complaints() == []
    again = "UPDATE payments_sandboxintent SET charges = charges + %s WHERE reference = %s"
    [[order_id]] = aftermath.orders_of([battle.purchases[0].email]).values()
    [(reference,)] = rows("payments", "SELECT reference FROM payments_payment WHERE order_id = %s", [order_id])
    changed("payments", again, [1, reference])
    postbox.mails.append(postbox.to(battle.purchases[0].email)[0])
    complaints = battle.complaints()
    changed("payments", again, [-1, reference])
    assert [("charges=2" in said, "letters arrived" in said) for said in complaints] == [(True, False), (False, True)]
