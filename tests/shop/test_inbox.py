"""Handling: each fact has its effect once per handler; poison holds up only its own."""

import threading

import pytest
from django.db import OperationalError, connections

from shop import inbox, tracing
from shop.database import changed, rows, transaction
from shop.engine import run_until_idle
from shop.errors import Unavailable
from shop.events import MAX_HOPS
from shop.ids import uuid7
from shop.inbox import NotParked
from shop.leases import Fenced
from shop.outbox import publish
from shop.transactions import held
from tests.shop.post import (
    READER,
    SENDER,
    LetterSent,
    deliveries,
    hurry,
    inbox_rows,
    listen,
    note,
    notes,
    registries,
    send,
    stream,
)
from tests.shop.threads import at_once


def read(event):
    note(event.letter_id, event.text)


def choke(event):
    """Fail on every text that says so; remember the others."""
    if event.text == "poison":
        raise ValueError("cannot read this")
    note(event.letter_id, f"choke {event.text}")


class Killed(BaseException):
    """What a worker's end looks like to its row: started, and nothing after."""


def handle(letter, times=1):
    """Hand over, and handle with time going by."""
    for _ in range(times):
        hurry(letter)
        run_until_idle()


def handle_until_killed():
    with pytest.raises(Killed):
        inbox.handle_due(READER)


def deliver(letter, *texts):
    send(letter, *texts)
    from shop import relay

    for _ in texts:
        relay.deliver_due(SENDER)


# One effect


def test_the_effect_and_its_mark_are_one_transaction(letter):
    listen(read)
    send(letter, "hello")
    run_until_idle()
    [marked] = rows(READER, "SELECT xmin::text FROM shop_inboxrow WHERE stream = %s", [stream(letter)])
    [effect] = rows(READER, "SELECT xmin::text FROM shop_auditentry WHERE object_id = %s", [str(letter)])
    assert marked == effect


def test_an_effect_is_gone_when_its_handler_fails(letter):
    def note_and_fail(event):
        note(event.letter_id)
        raise ValueError

    listen(note_and_fail)
    send(letter, "hello")
    handle(letter, times=3)
    assert notes(letter) == []
    assert inbox_rows(letter)[0].failures == 3


def test_an_atomic_handler_runs_inside_a_transaction_that_its_use_case_joins(letter):
    def use_case(event):
        with transaction(READER):
            note(event.letter_id, f"on {held.aliases}")

    listen(use_case)
    send(letter, "hello")
    run_until_idle()
    assert notes(letter) == ["on ['orders']"]


def test_a_handler_that_calls_out_holds_no_transaction(letter):
    seen = []
    listen(lambda event: seen.append(list(held.aliases)), atomic=False)
    send(letter, "hello")
    run_until_idle()
    assert seen == [[]]
    assert inbox_rows(letter)[0].handled_at is not None


def test_each_handler_of_a_context_has_its_own_row(letter):
    listen(read)
    listen(choke)
    send(letter, "hello")
    run_until_idle()
    assert sorted(notes(letter)) == ["choke hello", "hello"]


def test_workers_at_once_handle_each_fact_once(letter):
    listen(read)
    letters = [letter, *(uuid7() for _ in range(60))]
    for one in letters:
        deliver(one, "hello")

    def work():
        while inbox.handle_due(READER):
            pass

    at_once(work, work, work, work)
    assert all(notes(one) == ["hello"] for one in letters)


def test_what_a_handler_announces_belongs_to_the_same_story_one_hop_further(letter):
    answer = uuid7()

    def reply(event):
        with transaction(SENDER):
            publish(LetterSent(letter_id=answer), sequence=1)

    listen(reply, context=SENDER)
    trace = tracing.Trace(correlation_id="story", causation_id="request", traceparent="00-aa", hops=4)
    with tracing.following(trace):
        send(letter, "hello")
    hurry(letter)
    from shop import relay

    relay.deliver_due(SENDER)
    inbox.handle_due(SENDER)
    sql = "SELECT correlation_id, traceparent, hops, causation_id FROM shop_outboxevent WHERE stream = %s"
    [found] = rows(SENDER, sql, [stream(answer)])
    [cause] = inbox_rows(letter, SENDER)
    assert found == ("story", "00-aa", 5, str(cause.event_id))


def test_a_fact_that_was_passed_on_too_often_is_parked_on_arrival(letter):
    listen(read)
    with tracing.following(tracing.Trace(correlation_id="c", causation_id="c", hops=MAX_HOPS + 1)):
        send(letter, "round and round")
    run_until_idle()
    [row] = inbox_rows(letter)
    assert (row.parked_at is not None, row.error) == (True, "passed on 17 times")
    assert deliveries(letter)[0].acknowledged_at is not None
    assert notes(letter) == []


def test_a_fact_that_was_passed_on_often_enough_is_handled(letter):
    listen(read)
    with tracing.following(tracing.Trace(correlation_id="c", causation_id="c", hops=MAX_HOPS)):
        send(letter, "the last time")
    run_until_idle()
    assert notes(letter) == ["the last time"]


# Poison


def test_poison_is_parked_after_five_failures(letter):
    listen(choke)
    send(letter, "poison")
    handle(letter, times=4)
    assert inbox_rows(letter)[0].parked_at is None
    handle(letter)
    [row] = inbox_rows(letter)
    assert (row.parked_at is not None, row.failures, row.error) == (True, 5, "ValueError('cannot read this')")


def test_poison_holds_up_only_its_own_handler_and_stream(letter):
    other = uuid7()
    listen(choke)
    listen(read)
    send(letter, "poison", "after")
    send(other, "elsewhere")
    handle(letter, times=7)
    assert notes(letter) == ["poison", "after"]
    assert sorted(notes(other)) == ["choke elsewhere", "elsewhere"]
    assert [row.handled_at is None for row in inbox_rows(letter) if row.handler == "orders.choke"] == [True, True]


def test_a_payload_that_does_not_fit_is_poison_as_any_other(letter):
    other = uuid7()
    listen(read)
    deliver(letter, "hello")
    changed(READER, "UPDATE shop_inboxrow SET envelope = envelope || '{\"payload\": {}}' WHERE stream = %s", [stream(letter)])
    send(other, "elsewhere")
    handle(letter, times=5)
    [row] = inbox_rows(letter)
    assert (row.failures, row.parked_at is not None) == (5, True)
    assert "letter_id" in row.error
    assert notes(other) == ["elsewhere"]


def test_an_unordered_handler_does_not_wait_for_an_earlier_fact(letter):
    listen(choke, ordered=False)
    send(letter, "poison", "after")
    handle(letter, times=2)
    assert notes(letter) == ["choke after"]


def test_an_ordered_handler_waits_for_an_earlier_fact(letter):
    listen(choke)
    send(letter, "poison", "after")
    handle(letter, times=2)
    assert notes(letter) == []


def die(event):
    if event.text == "deadly":
        raise Killed
    note(event.letter_id, event.text)


def test_a_row_that_was_started_five_times_without_an_end_is_parked(letter):
    listen(die)
    deliver(letter, "deadly")
    for _ in range(5):
        hurry(letter)
        handle_until_killed()
    hurry(letter)
    inbox.handle_due(READER)
    [row] = inbox_rows(letter)
    assert (row.parked_at is not None, row.error) == (True, "started 5 times without an end")


def test_what_was_claimed_beside_a_deadly_row_is_handled(letter):
    others = [uuid7() for _ in range(5)]
    listen(die)
    deliver(letter, "deadly")
    for one in others:
        deliver(one, "hello")
    for _ in range(8):
        for one in (letter, *others):
            hurry(one)
        try:
            while inbox.handle_due(READER):
                pass
        except Killed:
            pass
    assert [notes(one) for one in others] == [["hello"]] * 5
    assert inbox_rows(letter)[0].parked_at is not None


@pytest.mark.parametrize("outage", [Unavailable(what="The provider"), OperationalError("deadlock detected")])
def test_an_outage_is_not_an_attempt(letter, outage):
    outages = [outage] * 12

    def wait_for_it(event):
        if outages:
            raise outages.pop()
        note(event.letter_id)

    listen(wait_for_it)
    send(letter, "hello")
    handle(letter, times=12)
    [row] = inbox_rows(letter)
    assert (row.failures, row.starts, row.parked_at, row.handled_at) == (0, 0, None, None)
    assert str(outage)[:10] in row.error
    handle(letter)
    assert notes(letter) == ["read"]


def test_an_outage_is_waited_for_ten_seconds_at_most():
    waits = [inbox.backoff(tries).total_seconds() for tries in range(200)]
    assert max(waits) <= 10
    assert min(waits[10:]) >= 5
    assert waits[0] < 0.2


def test_a_row_whose_handler_is_gone_is_kept_and_says_so(letter):
    with registries():
        listen(read)
        deliver(letter, "hello")
    handle(letter, times=7)
    [row] = inbox_rows(letter)
    assert (row.handled_at, row.parked_at) == (None, None)
    assert row.error == "this release has no handler orders.read for payments.test_letter_sent"
    listen(read)
    handle(letter)
    assert notes(letter) == ["hello"]


# Fencing


def take_over(letter):
    """What another worker does once the lease is over: one statement, so that no renewal comes between."""
    sql = "UPDATE shop_inboxrow SET attempt = attempt + 1, lease_until = NULL WHERE stream = %s"
    changed(READER, sql, [stream(letter)])


def run_a_zombie(letter, work):
    """`work` starts and is paused; another worker takes over and finishes; the paused one goes on."""
    paused, go_on = threading.Event(), threading.Event()

    def pause_once():
        if not paused.is_set():
            paused.set()
            go_on.wait(10)

    zombie = threading.Thread(target=lambda: (work(pause_once), connections.close_all()))
    zombie.start()
    paused.wait(10)
    take_over(letter)
    work(pause_once)
    go_on.set()
    zombie.join()


def test_a_worker_that_lost_its_lease_has_no_effect(letter):
    pauses = []

    def slow(event):
        pauses[0]()
        note(event.letter_id)

    def work(pause):
        pauses[:] = [pause]
        inbox.handle_due(READER)

    listen(slow)
    deliver(letter, "hello")
    run_a_zombie(letter, work)
    assert notes(letter) == ["read"]
    assert inbox_rows(letter)[0].handled_at is not None


def test_a_worker_that_is_not_fenced_would_have_its_effect_a_second_time(letter):
    def work(pause):
        with transaction(READER):
            pause()
            note(letter)
            changed(READER, "UPDATE shop_inboxrow SET handled_at = now() WHERE stream = %s", [stream(letter)])

    listen(read)
    deliver(letter, "hello")
    run_a_zombie(letter, work)
    assert notes(letter) == ["read", "read"]


def test_a_handler_that_calls_out_stops_where_it_is_fenced(letter):
    def fenced(event):
        raise Fenced

    listen(fenced, atomic=False)
    deliver(letter, "hello")
    inbox.handle_due(READER)
    [row] = inbox_rows(letter)
    assert (row.failures, row.handled_at) == (0, None)


# Parked


@pytest.fixture
def parked(letter):
    """A parked row, with another one of its stream behind it."""
    listen(choke)
    send(letter, "poison", "after")
    handle(letter, times=5)
    return inbox_rows(letter)[0]


def test_what_is_parked_can_be_seen(parked):
    assert parked.pk in [row.pk for row in inbox.parked(READER)]


def test_a_replay_lets_a_parked_row_run_again(letter, parked, monkeypatch):
    changed(READER, "UPDATE shop_inboxrow SET envelope = jsonb_set(envelope, '{payload,text}', '\"cured\"') WHERE id = %s",
            [parked.pk])  # fmt: skip
    assert inbox.replay(READER, [parked.pk]) == 1
    run_until_idle()
    assert notes(letter) == ["choke cured", "choke after"]


def test_a_replay_of_poison_parks_it_again_after_five_more_failures(letter, parked):
    inbox.replay(READER, [parked.pk])
    handle(letter, times=4)
    assert inbox_rows(letter)[0].parked_at is None
    handle(letter)
    assert inbox_rows(letter)[0].parked_at is not None


def test_a_replay_takes_parked_rows_only(letter, parked):
    waiting = inbox_rows(letter)[1]
    assert inbox.replay(READER, [waiting.pk, 2**62]) == 0
    listen(read)
    done = uuid7()
    send(done, "hello")
    run_until_idle()
    assert inbox.replay(READER, [row.pk for row in inbox_rows(done)]) == 0
    assert sorted(notes(done)) == ["choke hello", "hello"]


def test_a_discard_lets_the_stream_go_on(letter, parked):
    inbox.discard(READER, parked.pk, reason="nobody misses it")
    run_until_idle()
    assert notes(letter) == ["choke after"]
    row = inbox_rows(letter)[0]
    assert (row.discarded_because, row.handled_at is not None) == ("nobody misses it", True)


def test_a_discard_takes_parked_rows_only(letter, parked):
    inbox.discard(READER, parked.pk, reason="once")
    for row in (parked.pk, inbox_rows(letter)[1].pk, 2**62):
        with pytest.raises(NotParked):
            inbox.discard(READER, row, reason="again")


def test_the_lag_says_how_many_rows_are_parked(parked):
    seconds, count = inbox.lag(READER)
    assert seconds >= 0
    assert count >= 1


# Purging


def grow_old(letter, days=31):
    sql = "UPDATE shop_inboxrow SET handled_at = now() - %s * interval '1 day' WHERE stream = %s AND handled_at IS NOT NULL"
    changed(READER, sql, [days, stream(letter)])


def test_what_was_handled_long_ago_is_purged(letter):
    listen(read)
    send(letter, "hello")
    run_until_idle()
    grow_old(letter, days=29.9)
    inbox.purge(READER)
    assert len(inbox_rows(letter)) == 1
    grow_old(letter)
    inbox.purge(READER)
    assert inbox_rows(letter) == []


def test_nothing_is_purged_while_something_of_its_stream_waits(letter):
    listen(choke)
    send(letter, "fine", "poison")
    handle(letter, times=5)
    grow_old(letter)
    inbox.purge(READER)
    assert len(inbox_rows(letter)) == 2
