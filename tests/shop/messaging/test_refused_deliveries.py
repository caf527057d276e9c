"""An event that its subscriber refuses for a day is parked at its publisher, and its stream goes on without it."""

from datetime import timedelta

import pytest
from django.core.management import CommandError

from ops.verify import check
from shop.audit import list_object_history
from shop.db.database import execute
from shop.db.retention import list_model_rules
from shop.messaging import events, parking, relay
from shop.messaging.engine import run_until_idle
from shop.messaging.parking import NotParked, ParkedId
from shop.models import OutboxEvent
from shop.purging import purge_now
from tests.ops.test_commands import run
from tests.readiness import read_readiness
from tests.shop.messaging.letters import (
    PUBLISHER,
    SUBSCRIBER,
    LetterSent,
    deliveries,
    inbox_rows,
    make_all_due,
    publish_letters,
    record_text,
    recorded_effects,
    register_handler,
    stream,
)
from tests.shop.messaging.test_relay import backdate
from tests.staff_accounts import sign_in_to_admin

DAY = timedelta(days=1)


def let_time_pass(letter, elapsed=DAY):
    """Move the first refusal of all deliveries into the past."""
    sql = "UPDATE shop_delivery SET refused_since = refused_since - %s WHERE stream = %s"
    execute(PUBLISHER, sql, [elapsed, stream(letter)])


def deliver(letter, times=1):
    for _ in range(times):
        make_all_due(letter)
        run_until_idle()


@pytest.fixture
def refused(letter, settings):
    """A letter of which the first event is refused: its version is newer. Behind it there are two that are not."""
    register_handler(record_text)
    publish_letters(letter, "newer", "second", "third")
    set_version(letter, 2)
    deliver(letter)
    return letter


def set_version(letter, version):
    sql = "UPDATE shop_outboxevent SET version = %s WHERE stream = %s AND sequence = 1"
    execute(PUBLISHER, sql, [version, stream(letter)])


@pytest.fixture
def parked(refused):
    let_time_pass(refused)
    deliver(refused)
    return refused


def test_an_event_is_retried_until_it_was_refused_for_a_day(refused):
    let_time_pass(refused, DAY - timedelta(minutes=1))
    deliver(refused, times=3)
    first, second, _ = deliveries(refused)
    assert (first.parked_at, first.acknowledged_at, first.attempts) == (None, None, 4)
    assert first.refused_since is not None and second.attempts == 0 and recorded_effects(refused) == []


def test_after_a_day_it_is_parked_and_its_stream_goes_on_in_order(parked):
    first, *others = deliveries(parked)
    assert first.parked_at and (first.acknowledged_at, first.due_at) == (None, None)
    assert first.error == "orders knows payments.test_letter_sent up to version 1, not 2"
    assert all(one.acknowledged_at for one in others) and recorded_effects(parked) == ["second", "third"]
    attempts = first.attempts
    deliver(parked, times=3)
    assert deliveries(parked)[0].attempts == attempts


def test_the_time_until_parking_is_a_setting(refused, settings):
    settings.PARK_REFUSED_EVENTS_AFTER = timedelta(hours=2)
    let_time_pass(refused, timedelta(hours=2))
    deliver(refused)
    assert deliveries(refused)[0].parked_at


def test_an_outage_is_no_refusal(letter, settings):
    settings.SUBSCRIPTIONS[LetterSent.name] = ["elsewhere"]
    publish_letters(letter, "hello", "after")
    deliver(letter)
    settings.PARK_REFUSED_EVENTS_AFTER = timedelta(0)
    deliver(letter, times=3)
    first, second = deliveries(letter)
    assert (first.refused_since, first.parked_at, first.attempts, second.attempts) == (None, None, 4, 0)
    assert "elsewhere" in first.error


def test_an_event_without_a_handler_is_parked_too(letter, settings):
    settings.SUBSCRIPTIONS[LetterSent.name] = [SUBSCRIBER]
    publish_letters(letter, "hello")
    deliver(letter)
    let_time_pass(letter)
    deliver(letter)
    [delivery] = deliveries(letter)
    assert delivery.parked_at and delivery.error == "orders has no handler for payments.test_letter_sent"


def test_only_the_subscriber_that_refuses_goes_without_it(letter, settings):
    register_handler(record_text, context="users")
    settings.SUBSCRIPTIONS[LetterSent.name] = ["orders", "users"]
    publish_letters(letter, "hello")
    deliver(letter)
    let_time_pass(letter)
    deliver(letter)
    at_orders, at_users = deliveries(letter)
    assert (at_orders.parked_at is not None, at_users.acknowledged_at is not None) == (True, True)


def replay(letter):
    return len(parking.replay_deliveries(PUBLISHER, [one.id for one in deliveries(letter)]))


def test_a_replayed_event_is_delivered_before_later_ones_that_are_not(parked):
    publish_letters(parked, "fourth", first=4)
    set_version(parked, 1)
    assert replay(parked) == 1
    deliver(parked)
    assert recorded_effects(parked) == ["second", "third", "newer", "fourth"]
    assert all(one.acknowledged_at and one.parked_at is None for one in deliveries(parked))
    assert [row.envelope.get("was_parked", False) for row in inbox_rows(parked)] == [True, False, False, False]


def test_a_replayed_event_that_is_refused_again_is_parked_at_once(parked):
    publish_letters(parked, "fourth", first=4)
    assert replay(parked) == 1
    deliver(parked)
    assert deliveries(parked)[0].parked_at and recorded_effects(parked) == ["second", "third", "fourth"]


def test_an_event_can_be_replayed_until_it_is_28_days_old(parked):
    set_version(parked, 1)
    backdate(parked, 28.01)
    assert replay(parked) == 0 and deliveries(parked)[0].parked_at
    backdate(parked, 27.99)
    assert replay(parked) == 1
    deliver(parked)
    assert recorded_effects(parked)[-1] == "newer"


def test_a_refused_event_that_is_too_old_is_parked_at_once(letter):
    register_handler(record_text)
    publish_letters(letter, "hello")
    backdate(letter, 29.01)
    deliver(letter)
    [delivery] = deliveries(letter)
    assert delivery.parked_at and delivery.error.startswith("older than 29 days")


def test_only_parked_deliveries_are_replayed_or_discarded(refused):
    first, second, _ = deliveries(refused)
    assert parking.replay_deliveries(PUBLISHER, [first.id, second.id, 2**62]) == []
    with pytest.raises(NotParked):
        parking.discard_delivery(PUBLISHER, first.id, reason="because")
    assert deliveries(refused)[0].acknowledged_at is None


def test_a_late_acknowledgement_ends_a_parked_delivery(parked):
    [event] = [str(one.event_id) for one in deliveries(parked)[:1]]
    relay.acknowledge(PUBLISHER, SUBSCRIBER, [event], {})
    first = deliveries(parked)[0]
    assert first.acknowledged_at and first.parked_at is None
    assert parking.list_parked_deliveries(PUBLISHER) == []


def test_a_discarded_event_is_never_delivered(parked):
    [first, *_] = deliveries(parked)
    parking.discard_for_staff(PUBLISHER, ParkedId(first.id, is_delivery=True), actor="kim", reason="obsolete")
    set_version(parked, 1)
    deliver(parked)
    first = deliveries(parked)[0]
    assert (first.parked_at, first.discarded_because) == (None, "obsolete") and first.acknowledged_at
    assert recorded_effects(parked) == ["second", "third"]
    [entry] = list_object_history(PUBLISHER, "delivery", first.id)
    assert (entry.actor, entry.action, entry.detail) == ("kim", "discard event", {"reason": "obsolete"})


def test_nothing_of_a_stream_is_purged_while_an_event_is_parked(parked):
    backdate(parked, 31)
    purge_now(PUBLISHER, list_model_rules(OutboxEvent))
    assert len(deliveries(parked)) == 3


def test_the_command_lists_replays_and_discards_refused_deliveries(parked):
    first = deliveries(parked)[0]
    listed = f"payments delivery-{first.id} payments.test_letter_sent version 2 {stream(parked)}#1 to orders"
    assert any(line.startswith(listed) for line in run("events", "parked").splitlines())
    assert run("events", "replay", PUBLISHER, f"delivery-{first.id}") == "1 of 1 event will be processed again\n"
    assert run("events", "replay", PUBLISHER, f"delivery-{first.id}") == "0 of 1 event will be processed again\n"
    deliver(parked)
    assert run("events", "replay", PUBLISHER).endswith("event will be processed again\n")
    assert deliveries(parked)[0].parked_at is None
    deliver(parked)
    with pytest.raises(CommandError, match="--reason is empty"):
        run("events", "discard", PUBLISHER, f"delivery-{first.id}", "--reason", " ")
    run("events", "discard", PUBLISHER, f"delivery-{first.id}", "--reason", "not needed")
    with pytest.raises(CommandError, match="Only a parked event"):
        run("events", "discard", PUBLISHER, f"delivery-{first.id}", "--reason", "not needed")
    actions = [entry.action for entry in list_object_history(PUBLISHER, "delivery", first.id)]
    assert actions == ["discard event", "replay event", "replay event"]


PAGE = "/admin/events/"


def decide(letter, what, *, permission="payments.change", **fields):
    """Send the form of the first delivery on the page of parked events, and return the page that follows."""
    data = {"context": PUBLISHER, "row": f"delivery-{deliveries(letter)[0].id}", "what": what, **fields}
    return sign_in_to_admin(permission).post(PAGE, data, follow=True).content.decode()


def test_staff_see_a_refused_delivery_with_its_reason(parked, in_one_process):
    page = sign_in_to_admin("payments.view").get(PAGE).content.decode()
    assert stream(parked) in page and "knows payments.test_letter_sent up to version 1, not 2" in page
    assert "payments.test_letter_sent version 2" in page
    assert stream(parked) not in sign_in_to_admin("orders.view").get(PAGE).content.decode()


def test_staff_replay_a_refused_delivery_in_the_admin(parked, in_one_process):
    set_version(parked, 1)
    decide(parked, "replay")
    deliver(parked)
    assert recorded_effects(parked) == ["second", "third", "newer"]
    assert "no longer parked" in decide(parked, "replay")


def test_staff_discard_a_refused_delivery_for_a_reason(parked, in_one_process):
    assert "Enter a reason" in decide(parked, "discard", reason=" ")
    assert "You have no permission" in decide(parked, "discard", permission="payments.view", reason="because")
    assert deliveries(parked)[0].parked_at
    decide(parked, "discard", reason="obsolete")
    assert deliveries(parked)[0].discarded_because == "obsolete"


def ready():
    status, body = read_readiness()
    assert status == 200
    return body["contexts"][PUBLISHER]


def test_ready_shows_refused_and_parked_deliveries_and_stays_ready(refused):
    state = ready()
    assert (state["refused_deliveries"], state["parked_deliveries"], state["degraded"]) == (1, 0, True)
    let_time_pass(refused)
    deliver(refused)
    state = ready()
    assert (state["refused_deliveries"], state["parked_deliveries"], state["degraded"]) == (0, 1, True)
    backdate(refused, 1)
    assert ready()["engine"] == "ok", "a parked event is no lag"


def found(letter):
    return {
        (one.invariant, one.subject.partition("#")[2])
        for one in check(is_idle=True, contexts=[PUBLISHER])
        if stream(letter) in one.subject
    }


def test_verify_shows_a_refused_and_then_a_parked_event(refused):
    assert found(refused) == {("facts_are_delivered", f"{n} to orders") for n in (1, 2, 3)}
    let_time_pass(refused)
    deliver(refused)
    assert found(refused) == {("nothing_is_parked", "1 to orders")}
    parking.discard_delivery(PUBLISHER, deliveries(refused)[0].id, reason="because")
    assert found(refused) == set()


def test_verify_accepts_that_a_replayed_event_is_handled_after_later_ones(parked):
    set_version(parked, 1)
    replay(parked)
    deliver(parked)
    [name] = {row.handler for row in inbox_rows(parked)}
    violations = [one for one in check(contexts=[SUBSCRIBER]) if name in one.subject and stream(parked) in one.subject]
    assert violations == []
    execute(
        SUBSCRIBER,
        "UPDATE shop_inboxrow SET envelope = envelope - 'was_parked' WHERE stream = %s",
        [stream(parked)],
    )
    assert "handled_in_order" in {
        one.invariant for one in check(contexts=[SUBSCRIBER]) if stream(parked) in one.subject
    }


def receive_and_forget_handler(letter):
    """Store a received event whose handler then no longer exists."""
    register_handler(record_text)
    publish_letters(letter, "hello")
    relay.deliver_due(PUBLISHER)
    events._handlers.clear()
    deliver(letter)
    return inbox_rows(letter)[0]


def test_a_received_event_whose_handler_was_removed_is_parked_after_a_day(letter):
    row = receive_and_forget_handler(letter)
    assert row.parked_at is None and "has no handler" in row.error
    sql = "UPDATE shop_inboxrow SET received_at = received_at - interval '1 day' WHERE id = %s"
    execute(SUBSCRIBER, sql, [row.id])
    deliver(letter)
    row = inbox_rows(letter)[0]
    assert row.parked_at and "has no handler" in row.error
    register_handler(record_text)
    assert parking.replay(SUBSCRIBER, [row.id]) == [row.id]
    deliver(letter)
    assert recorded_effects(letter) == ["hello"]
