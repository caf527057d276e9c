"""Handling: each fact has its effect once per handler, whoever else is at work."""

import threading

import pytest
from django.db import connections

from shop import inbox, relay, tracing
from shop.database import changed, rows, transaction
from shop.engine import run_until_idle
from shop.events import MAX_HOPS
from shop.ids import uuid7
from shop.leases import Fenced
from shop.outbox import publish
from shop.transactions import held
from tests.shop.post import (
    READER,
    SENDER,
    LetterSent,
    choke,
    deliver,
    deliveries,
    handle,
    hurry,
    impatient,
    inbox_rows,
    listen,
    note,
    notes,
    read,
    send,
    stream,
)
from tests.shop.server import cut_connection
from tests.threads import at_once, elsewhere


def test_the_effect_and_its_mark_are_one_transaction(letter):
    listen(read)
    send(letter, "hello")
    run_until_idle()
    [marked] = rows(READER, "SELECT xmin::text FROM shop_inboxrow WHERE stream = %s", [stream(letter)])
    [effect] = rows(READER, "SELECT xmin::text FROM shop_auditentry WHERE object_id = %s", [str(letter)])
    assert marked == effect


TOLD = "UPDATE shop_inboxrow SET envelope = jsonb_set(envelope, %s, %s::text::jsonb) WHERE stream = %s"


def test_what_a_later_release_has_accepted_is_left_to_it(letter):
    listen(read)
    deliver(letter, "hello")
    changed(READER, TOLD, ["{version}", "2", stream(letter)])
    handle(letter, times=inbox.MAX_FAILURES + 1)
    [row] = inbox_rows(letter)
    assert (notes(letter), row.failures, row.parked_at) == ([], 0, None)
    assert row.error == f"this release knows {LetterSent.name} up to version 1"
    changed(READER, TOLD, ["{version}", "1", stream(letter)])  # as if this were the later release
    handle(letter)
    assert notes(letter) == ["hello"]


def test_what_a_fact_says_beyond_what_this_release_knows_is_passed_over(letter):
    listen(read)
    deliver(letter, "hello")
    changed(READER, TOLD, ["{payload,mood}", '"good"', stream(letter)])
    handle(letter)
    assert notes(letter) == ["hello"]


def test_what_an_older_release_announced_is_told_as_it_is_now(letter, monkeypatch):
    monkeypatch.setattr(LetterSent, "version", 2)
    monkeypatch.setattr(LetterSent, "upcast", lambda version, facts: facts | {"text": f"{facts['text']} of version {version}"})
    listen(read)
    deliver(letter, "hello")
    changed(READER, TOLD, ["{version}", "1", stream(letter)])
    handle(letter)
    assert notes(letter) == ["hello of version 1"]


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


def test_a_worker_that_lost_its_lease_has_no_effect_while_its_successor_still_works(letter):
    lost = []

    def slow(event):
        if not lost:
            elsewhere(lambda: changed(READER, sql, [stream(letter)]))
        lost.append(event)
        note(event.letter_id)

    sql = "UPDATE shop_inboxrow SET attempt = attempt + 1 WHERE stream = %s"

    listen(slow)
    deliver(letter, "hello")
    inbox.handle_due(READER)
    assert (len(lost), notes(letter), inbox_rows(letter)[0].handled_at) == (1, [], None)
    handle(letter)
    assert notes(letter) == ["read"]


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


def test_a_row_that_another_worker_is_claiming_is_passed_over(letter):
    listen(read)
    deliver(letter, "hello")
    with transaction(READER):
        rows(READER, "SELECT 1 FROM shop_inboxrow WHERE stream = %s FOR UPDATE", [stream(letter)])
        elsewhere(lambda: impatient(READER, inbox.handle_due))
    assert notes(letter) == []
    handle(letter)
    assert notes(letter) == ["hello"]


@pytest.mark.parametrize("atomic", [True, False])
def test_a_handler_whose_connection_is_lost_runs_again(letter, atomic):
    def read_over_a_bad_line(event):
        if not lost:
            lost.append(event)
            cut_connection(READER)
        note(event.letter_id)

    lost = []
    listen(read_over_a_bad_line, atomic=atomic)
    deliver(letter, "hello")
    inbox.handle_due(READER)
    [row] = inbox_rows(letter)
    assert (row.failures, row.lease_until, row.handled_at) == (0, None, None)
    handle(letter)
    assert notes(letter) == ["read"]
