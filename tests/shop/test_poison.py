"""Poison: what a handler cannot swallow holds up only itself, can be seen, replayed and discarded; and what is old goes."""

import pytest
from django.db import OperationalError

from shop import inbox, leases
from shop.database import changed
from shop.engine import run_until_idle
from shop.errors import Unavailable
from shop.ids import uuid7
from shop.inbox import NotParked
from tests.shop.post import (
    READER,
    choke,
    deliver,
    handle,
    hurry,
    inbox_rows,
    listen,
    note,
    notes,
    read,
    registries,
    send,
    stream,
)


class Killed(BaseException):
    """What a worker's end looks like to its row: started, and nothing after."""


def handle_until_killed():
    with pytest.raises(Killed):
        inbox.handle_due(READER)


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
    waits = [leases.backoff(tries).total_seconds() for tries in range(200)]
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


@pytest.fixture
def parked(letter):
    """A parked row, with another one of its stream behind it."""
    listen(choke)
    send(letter, "poison", "after")
    handle(letter, times=5)
    return inbox_rows(letter)[0]


def test_what_is_parked_can_be_seen(parked):
    assert parked.pk in [row.pk for row in inbox.parked(READER)]


def test_a_replay_lets_a_parked_row_run_again(letter, parked):
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
