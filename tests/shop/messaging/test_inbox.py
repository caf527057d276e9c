"""Handling: each event has its effect once per handler, with any number of concurrent workers."""

import threading

import pytest
from django.db import connections

from shop.calls import tracing
from shop.db.database import execute, fetch_rows, transaction
from shop.db.leases import LeaseLost
from shop.db.transactions import transaction_state
from shop.ids import uuid7
from shop.messaging import handling, relay
from shop.messaging.engine import run_until_idle
from shop.messaging.events import MAX_HOPS
from shop.messaging.outbox import Revision, publish
from tests.concurrency import run_concurrently, run_in_thread
from tests.shop.db.superuser_session import terminate_connection
from tests.shop.messaging.letters import (
    PUBLISHER,
    SUBSCRIBER,
    LetterSent,
    deliver,
    deliver_and_handle,
    deliveries,
    fail_on_poison,
    inbox_rows,
    make_all_due,
    publish_letters,
    record_effect,
    record_text,
    recorded_effects,
    register_handler,
    stream,
    with_lock_timeout,
)


def test_the_effect_and_its_inbox_mark_are_one_transaction(letter):
    register_handler(record_text)
    publish_letters(letter, "hello")
    run_until_idle()
    [marked] = fetch_rows(SUBSCRIBER, "SELECT xmin::text FROM shop_inboxrow WHERE stream = %s", [stream(letter)])
    [effect] = fetch_rows(SUBSCRIBER, "SELECT xmin::text FROM shop_auditentry WHERE object_id = %s", [str(letter)])
    assert marked == effect


CHANGE_ENVELOPE_SQL = "UPDATE shop_inboxrow SET envelope = jsonb_set(envelope, %s, %s::text::jsonb) WHERE stream = %s"


def test_an_event_of_a_later_version_is_left_to_the_later_release(letter):
    register_handler(record_text)
    deliver(letter, "hello")
    execute(SUBSCRIBER, CHANGE_ENVELOPE_SQL, ["{version}", "2", stream(letter)])
    deliver_and_handle(letter, times=handling.MAX_FAILURES + 1)
    [row] = inbox_rows(letter)
    assert (recorded_effects(letter), row.failures, row.parked_at) == ([], 0, None)
    assert row.error == f"this release knows {LetterSent.name} up to version 1"
    execute(SUBSCRIBER, CHANGE_ENVELOPE_SQL, ["{version}", "1", stream(letter)])  # as if this were the later release
    deliver_and_handle(letter)
    assert recorded_effects(letter) == ["hello"]


def test_unknown_fields_of_an_event_are_ignored(letter):
    register_handler(record_text)
    deliver(letter, "hello")
    execute(SUBSCRIBER, CHANGE_ENVELOPE_SQL, ["{payload,mood}", '"good"', stream(letter)])
    deliver_and_handle(letter)
    assert recorded_effects(letter) == ["hello"]


def test_an_event_of_an_older_version_is_upcast(letter, monkeypatch):
    monkeypatch.setattr(LetterSent, "version", 2)
    monkeypatch.setattr(
        LetterSent, "upcast", lambda version, payload: payload | {"text": f"{payload['text']} of version {version}"}
    )
    register_handler(record_text)
    deliver(letter, "hello")
    execute(SUBSCRIBER, CHANGE_ENVELOPE_SQL, ["{version}", "1", stream(letter)])
    deliver_and_handle(letter)
    assert recorded_effects(letter) == ["hello of version 1"]


def test_an_effect_is_rolled_back_when_its_handler_fails(letter):
    def record_and_fail(event):
        record_effect(event.letter_id)
        raise ValueError

    register_handler(record_and_fail)
    publish_letters(letter, "hello")
    deliver_and_handle(letter, times=3)
    assert recorded_effects(letter) == []
    assert inbox_rows(letter)[0].failures == 3


def test_an_atomic_handler_runs_inside_a_transaction_that_its_use_case_joins(letter):
    def use_case(event):
        with transaction(SUBSCRIBER):
            record_effect(event.letter_id, f"on {transaction_state.open_aliases}")

    register_handler(use_case)
    publish_letters(letter, "hello")
    run_until_idle()
    assert recorded_effects(letter) == ["on ['orders']"]


def test_a_handler_that_calls_out_holds_no_transaction(letter):
    aliases = []
    register_handler(lambda event: aliases.append(list(transaction_state.open_aliases)), atomic=False)
    publish_letters(letter, "hello")
    run_until_idle()
    assert aliases == [[]]
    assert inbox_rows(letter)[0].handled_at is not None


def test_each_handler_of_a_context_has_its_own_row(letter):
    register_handler(record_text)
    register_handler(fail_on_poison)
    publish_letters(letter, "hello")
    run_until_idle()
    assert sorted(recorded_effects(letter)) == ["checked hello", "hello"]


def test_concurrent_workers_handle_each_event_once(letter):
    register_handler(record_text)
    letters = [letter, *(uuid7() for _ in range(60))]
    for one in letters:
        deliver(one, "hello")

    def work():
        while handling.handle_due(SUBSCRIBER):
            pass

    run_concurrently(work, work, work, work)
    assert all(recorded_effects(one) == ["hello"] for one in letters)


def test_an_event_published_by_a_handler_keeps_the_correlation_id_one_hop_further(letter):
    answer = uuid7()

    def reply(event):
        with transaction(PUBLISHER):
            publish(LetterSent(letter_id=answer), row=Revision())

    register_handler(reply, context=PUBLISHER)
    trace = tracing.Trace(correlation_id="correlation", causation_id="request", traceparent="00-aa", hops=4)
    with tracing.use_trace(trace):
        publish_letters(letter, "hello")
    make_all_due(letter)
    relay.deliver_due(PUBLISHER)
    handling.handle_due(PUBLISHER)
    sql = "SELECT correlation_id, traceparent, hops, causation_id FROM shop_outboxevent WHERE stream = %s"
    [found] = fetch_rows(PUBLISHER, sql, [stream(answer)])
    [cause] = inbox_rows(letter, PUBLISHER)
    assert found == ("correlation", "00-aa", 5, str(cause.event_id))


def test_an_event_with_too_many_hops_is_parked_on_arrival(letter):
    register_handler(record_text)
    with tracing.use_trace(tracing.Trace(correlation_id="c", causation_id="c", hops=MAX_HOPS + 1)):
        publish_letters(letter, "in a loop")
    run_until_idle()
    [row] = inbox_rows(letter)
    assert (row.parked_at is not None, row.error) == (True, "17 hops, more than the limit of 16")
    assert deliveries(letter)[0].acknowledged_at is not None
    assert recorded_effects(letter) == []


def test_an_event_at_the_hop_limit_is_handled(letter):
    register_handler(record_text)
    with tracing.use_trace(tracing.Trace(correlation_id="c", causation_id="c", hops=MAX_HOPS)):
        publish_letters(letter, "the last time")
    run_until_idle()
    assert recorded_effects(letter) == ["the last time"]


def take_over(letter):
    """Take over the row as another worker does after the lease ends. One statement, so that no renewal comes between."""
    sql = "UPDATE shop_inboxrow SET attempt = attempt + 1, lease_until = NULL WHERE stream = %s"
    execute(SUBSCRIBER, sql, [stream(letter)])


def run_after_losing_the_lease(letter, work):
    """Start `work` and pause it; let another worker take over and finish; then resume the first one."""
    paused, go_on = threading.Event(), threading.Event()

    def pause_once():
        if not paused.is_set():
            paused.set()
            go_on.wait(10)

    paused_worker = threading.Thread(target=lambda: (work(pause_once), connections.close_all()))
    paused_worker.start()
    paused.wait(10)
    take_over(letter)
    work(pause_once)
    go_on.set()
    paused_worker.join()


def test_a_worker_that_lost_its_lease_has_no_effect(letter):
    pauses = []

    def slow(event):
        pauses[0]()
        record_effect(event.letter_id)

    def work(pause):
        pauses[:] = [pause]
        handling.handle_due(SUBSCRIBER)

    register_handler(slow)
    deliver(letter, "hello")
    run_after_losing_the_lease(letter, work)
    assert recorded_effects(letter) == ["read"]
    assert inbox_rows(letter)[0].handled_at is not None


def test_a_worker_that_lost_its_lease_has_no_effect_while_its_successor_still_works(letter):
    lost = []

    def slow(event):
        if not lost:
            run_in_thread(lambda: execute(SUBSCRIBER, sql, [stream(letter)]))
        lost.append(event)
        record_effect(event.letter_id)

    sql = "UPDATE shop_inboxrow SET attempt = attempt + 1 WHERE stream = %s"

    register_handler(slow)
    deliver(letter, "hello")
    handling.handle_due(SUBSCRIBER)
    assert (len(lost), recorded_effects(letter), inbox_rows(letter)[0].handled_at) == (1, [], None)
    deliver_and_handle(letter)
    assert recorded_effects(letter) == ["read"]


def test_control_without_fencing_the_effect_happens_twice(letter):
    def work(pause):
        with transaction(SUBSCRIBER):
            pause()
            record_effect(letter)
            execute(SUBSCRIBER, "UPDATE shop_inboxrow SET handled_at = now() WHERE stream = %s", [stream(letter)])

    register_handler(record_text)
    deliver(letter, "hello")
    run_after_losing_the_lease(letter, work)
    assert recorded_effects(letter) == ["read", "read"]


def test_a_handler_that_calls_out_stops_when_its_lease_is_lost(letter):
    def lose_lease(event):
        raise LeaseLost

    register_handler(lose_lease, atomic=False)
    deliver(letter, "hello")
    handling.handle_due(SUBSCRIBER)
    [row] = inbox_rows(letter)
    assert (row.failures, row.handled_at) == (0, None)


def test_a_row_locked_by_another_worker_is_skipped(letter):
    register_handler(record_text)
    deliver(letter, "hello")
    with transaction(SUBSCRIBER):
        fetch_rows(SUBSCRIBER, "SELECT 1 FROM shop_inboxrow WHERE stream = %s FOR UPDATE", [stream(letter)])
        run_in_thread(lambda: with_lock_timeout(SUBSCRIBER, handling.handle_due))
    assert recorded_effects(letter) == []
    deliver_and_handle(letter)
    assert recorded_effects(letter) == ["hello"]


@pytest.mark.parametrize("atomic", [True, False])
def test_a_handler_whose_connection_is_lost_runs_again(letter, atomic):
    def terminate_connection_once(event):
        if not lost:
            lost.append(event)
            terminate_connection(SUBSCRIBER)
        record_effect(event.letter_id)

    lost = []
    register_handler(terminate_connection_once, atomic=atomic)
    deliver(letter, "hello")
    handling.handle_due(SUBSCRIBER)
    [row] = inbox_rows(letter)
    assert (row.failures, row.lease_until, row.handled_at) == (0, None, None)
    deliver_and_handle(letter)
    assert recorded_effects(letter) == ["read"]
