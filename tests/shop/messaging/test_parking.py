"""Parking: an event that its handler cannot process blocks only its own stream, and staff replay or discard it.

Old handled rows are purged.
"""

import pytest
from django.db import OperationalError

from shop.audit import list_object_history
from shop.db import leases
from shop.db.database import execute
from shop.db.retention import list_model_rules
from shop.errors import Unavailable
from shop.ids import uuid7
from shop.messaging import handling, inbox, parking
from shop.messaging.engine import run_until_idle
from shop.messaging.parking import NotParked, ParkedId
from shop.models import InboxRow
from shop.purging import purge_now
from tests.shop.messaging.letters import (
    SUBSCRIBER,
    deliver,
    deliver_and_handle,
    fail_on_poison,
    inbox_rows,
    isolated_registries,
    make_all_due,
    publish_letters,
    record_effect,
    record_text,
    recorded_effects,
    register_handler,
    stream,
)


class ProcessKilled(BaseException):
    """The kill of a worker, as its row sees it: started and never finished."""


def handle_until_killed():
    with pytest.raises(ProcessKilled):
        handling.handle_due(SUBSCRIBER)


def test_poison_is_parked_after_five_failures(letter):
    attempts = []

    def fail(event):
        attempts.append(inbox_rows(letter)[0].parked_at)
        raise ValueError("cannot read this")

    register_handler(fail)
    publish_letters(letter, "poison")
    deliver_and_handle(letter, times=7)
    assert attempts == [None] * 5
    [row] = inbox_rows(letter)
    assert (row.parked_at is not None, row.failures, row.error) == (True, 5, "ValueError('cannot read this')")


def test_poison_holds_up_only_its_own_handler_and_stream(letter):
    other = uuid7()
    register_handler(fail_on_poison)
    register_handler(record_text)
    publish_letters(letter, "poison", "after")
    publish_letters(other, "elsewhere")
    deliver_and_handle(letter, times=7)
    assert recorded_effects(letter) == ["poison", "after"]
    assert sorted(recorded_effects(other)) == ["checked elsewhere", "elsewhere"]
    assert [row.handled_at is None for row in inbox_rows(letter) if row.handler == "orders.fail_on_poison"] == [
        True,
        True,
    ]


def test_a_payload_that_cannot_be_decoded_is_parked(letter):
    other = uuid7()
    register_handler(record_text)
    deliver(letter, "hello")
    execute(
        SUBSCRIBER,
        "UPDATE shop_inboxrow SET envelope = envelope || '{\"payload\": {}}' WHERE stream = %s",
        [stream(letter)],
    )
    publish_letters(other, "elsewhere")
    deliver_and_handle(letter, times=5)
    [row] = inbox_rows(letter)
    assert (row.failures, row.parked_at is not None) == (5, True)
    assert "letter_id" in row.error
    assert recorded_effects(other) == ["elsewhere"]


def test_an_unordered_handler_does_not_wait_for_an_earlier_event(letter):
    register_handler(fail_on_poison, ordered=False)
    publish_letters(letter, "poison", "after")
    deliver_and_handle(letter, times=2)
    assert recorded_effects(letter) == ["checked after"]


def test_an_ordered_handler_waits_for_an_earlier_event(letter):
    register_handler(fail_on_poison)
    publish_letters(letter, "poison", "after")
    deliver_and_handle(letter, times=2)
    assert recorded_effects(letter) == []


def kill_process(event):
    if event.text == "deadly":
        raise ProcessKilled
    record_effect(event.letter_id, event.text)


def test_a_row_started_five_times_without_finishing_is_parked(letter):
    register_handler(kill_process)
    deliver(letter, "deadly")
    for _ in range(5):
        make_all_due(letter)
        handle_until_killed()
    make_all_due(letter)
    handling.handle_due(SUBSCRIBER)
    [row] = inbox_rows(letter)
    assert (row.parked_at is not None, row.error) == (True, "started 5 times without finishing")


def test_rows_claimed_with_a_killing_row_are_handled(letter):
    others = [uuid7() for _ in range(5)]
    register_handler(kill_process)
    deliver(letter, "deadly")
    for one in others:
        deliver(one, "hello")
    for _ in range(8):
        for one in (letter, *others):
            make_all_due(one)
        try:
            while handling.handle_due(SUBSCRIBER):
                pass
        except ProcessKilled:
            pass
    assert [recorded_effects(one) for one in others] == [["hello"]] * 5
    assert inbox_rows(letter)[0].parked_at is not None


@pytest.mark.parametrize("outage", [Unavailable(what="The provider"), OperationalError("deadlock detected")])
def test_an_outage_is_not_an_attempt(letter, outage):
    outages = [outage]

    def fail_with_outage(event):
        if outages:
            raise outages[0]
        record_effect(event.letter_id)

    register_handler(fail_with_outage)
    publish_letters(letter, "hello")
    deliver_and_handle(letter, times=12)
    [row] = inbox_rows(letter)
    assert (row.failures, row.starts, row.parked_at, row.handled_at) == (0, 0, None, None)
    assert str(outage)[:10] in row.error
    outages.clear()
    deliver_and_handle(letter)
    assert recorded_effects(letter) == ["read"]


def test_an_outage_is_retried_within_ten_seconds():
    waits = [leases.backoff(attempts).total_seconds() for attempts in range(200)]
    assert max(waits) <= 10
    assert min(waits[10:]) >= 5
    assert waits[0] < 0.2


def test_a_row_without_its_handler_is_kept_with_an_error(letter):
    with isolated_registries():
        register_handler(record_text)
        deliver(letter, "hello")
    deliver_and_handle(letter, times=7)
    [row] = inbox_rows(letter)
    assert (row.handled_at, row.parked_at) == (None, None)
    assert row.error == "this release has no handler orders.record_text for payments.test_letter_sent"
    register_handler(record_text)
    deliver_and_handle(letter)
    assert recorded_effects(letter) == ["hello"]


@pytest.fixture
def parked(letter):
    """A parked row, followed by another row of its stream."""
    register_handler(fail_on_poison)
    publish_letters(letter, "poison", "after")
    deliver_and_handle(letter, times=5)
    return inbox_rows(letter)[0]


def test_parked_rows_are_listed(parked):
    assert parked.pk in [row.pk for row in parking.list_parked(SUBSCRIBER)]


def test_a_replay_lets_a_parked_row_run_again(letter, parked):
    execute(
        SUBSCRIBER,
        "UPDATE shop_inboxrow SET envelope = jsonb_set(envelope, '{payload,text}', '\"cured\"') WHERE id = %s",
        [parked.pk],
    )
    assert parking.replay(SUBSCRIBER, [parked.pk]) == [parked.pk]
    run_until_idle()
    assert recorded_effects(letter) == ["checked cured", "checked after"]


def test_a_replay_of_poison_parks_it_again_after_five_more_failures(letter, parked):
    parking.replay(SUBSCRIBER, [parked.pk])
    deliver_and_handle(letter, times=4)
    assert inbox_rows(letter)[0].parked_at is None
    deliver_and_handle(letter)
    assert inbox_rows(letter)[0].parked_at is not None


def test_a_replay_affects_parked_rows_only(letter, parked):
    waiting = inbox_rows(letter)[1]
    assert parking.replay(SUBSCRIBER, [waiting.pk, 2**62]) == []
    register_handler(record_text)
    done = uuid7()
    publish_letters(done, "hello")
    run_until_idle()
    assert parking.replay(SUBSCRIBER, [row.pk for row in inbox_rows(done)]) == []
    assert sorted(recorded_effects(done)) == ["checked hello", "hello"]


def test_only_replayed_events_are_in_the_audit_trail(letter, parked):
    waiting = inbox_rows(letter)[1]
    chosen = [ParkedId(parked.pk), ParkedId(waiting.pk), ParkedId(2**62), ParkedId(2**62, is_delivery=True)]
    assert parking.replay_for_staff(SUBSCRIBER, chosen, actor="clerk") == 1
    assert parking.replay_for_staff(SUBSCRIBER, chosen, actor="clerk") == 0
    entries = [(one, len(list_object_history(SUBSCRIBER, one.object_type, one.number))) for one in chosen]
    assert entries == [(chosen[0], 1), (chosen[1], 0), (chosen[2], 0), (chosen[3], 0)]


def test_a_discard_unblocks_the_stream(letter, parked):
    parking.discard(SUBSCRIBER, parked.pk, reason="not needed")
    run_until_idle()
    assert recorded_effects(letter) == ["checked after"]
    row = inbox_rows(letter)[0]
    assert (row.discarded_because, row.handled_at is not None) == ("not needed", True)


def test_a_discard_affects_parked_rows_only(letter, parked):
    parking.discard(SUBSCRIBER, parked.pk, reason="once")
    for row in (parked.pk, inbox_rows(letter)[1].pk, 2**62):
        with pytest.raises(NotParked):
            parking.discard(SUBSCRIBER, row, reason="again")


def test_the_lag_counts_parked_rows(parked):
    seconds, count = inbox.measure_lag(SUBSCRIBER)
    assert seconds >= 0
    assert count >= 1


def backdate(letter, days=31):
    sql = "UPDATE shop_inboxrow SET handled_at = now() - %s * interval '1 day' WHERE stream = %s AND handled_at IS NOT NULL"
    execute(SUBSCRIBER, sql, [days, stream(letter)])


def test_old_handled_rows_are_purged(letter):
    register_handler(record_text)
    publish_letters(letter, "hello")
    run_until_idle()
    backdate(letter, days=29.9)
    purge_now(SUBSCRIBER, list_model_rules(InboxRow))
    assert len(inbox_rows(letter)) == 1
    backdate(letter)
    purge_now(SUBSCRIBER, list_model_rules(InboxRow))
    assert inbox_rows(letter) == []


def test_nothing_is_purged_while_its_stream_has_waiting_rows(letter):
    register_handler(fail_on_poison)
    publish_letters(letter, "fine", "poison")
    deliver_and_handle(letter, times=5)
    backdate(letter)
    purge_now(SUBSCRIBER, list_model_rules(InboxRow))
    assert len(inbox_rows(letter)) == 2
