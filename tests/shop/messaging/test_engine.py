"""The embedded engine delivers and handles events and runs timers, and no error stops it."""

import threading
import time
from datetime import timedelta

import pytest
from django.db import OperationalError, connections

from shop.db.database import execute, fetch_rows, hosted_contexts
from shop.ids import uuid7
from shop.messaging import events, outbox
from shop.messaging.engine import Engine, handle_abandoned, run_until_idle
from shop.messaging.events import every
from tests.concurrency import eventually
from tests.shop.db.superuser_session import terminate_connection
from tests.shop.messaging.letters import (
    PUBLISHER,
    SUBSCRIBER,
    LetterSent,
    deliver,
    inbox_rows,
    publish_letters,
    record_effect,
    recorded_effects,
    register_handler,
)


def record_text(event):
    record_effect(event.letter_id, event.text)


@pytest.fixture
def engines(letter):
    """Start engines, and stop all of them at the end."""
    started = []

    def start(count=1):
        for _ in range(count):
            started.append(Engine())
            started[-1].start()
        return started

    yield start
    for one in started:
        if not one.stopping.is_set():
            one.stop()


def test_an_engine_starts_and_stops_its_threads(engines):
    [engine] = engines()
    assert all(thread.is_alive() and thread.daemon for thread in engine.threads)
    engine.stop()
    assert not any(thread.is_alive() for thread in engine.threads)
    assert engine.wake_relay not in outbox.wake_callbacks


def test_a_stopping_engine_finishes_its_current_work(engines, letter):
    began, go_on = threading.Event(), threading.Event()

    def slow(event):
        began.set()
        go_on.wait(10)
        record_effect(event.letter_id)

    register_handler(slow)
    [engine] = engines()
    publish_letters(letter, "hello")
    assert began.wait(10)
    threading.Timer(0.2, go_on.set).start()
    engine.stop()
    assert recorded_effects(letter) == ["read"]


def test_events_are_handled_as_they_arrive(engines, letter):
    """The wake-up delivers each event. The benchmarks measure how fast."""
    handled = set()
    register_handler(lambda event: handled.add(event.letter_id), atomic=False)
    engines()
    for _ in range(50):
        one = uuid7()
        publish_letters(one, "hello")
        assert eventually(lambda awaited=one: awaited in handled)


def test_an_event_of_another_process_is_found_without_a_wakeup(engines, letter):
    register_handler(record_text)
    [engine] = engines()
    outbox.wake_callbacks.remove(engine.wake_relay)
    try:
        publish_letters(letter, "hello")
        assert eventually(lambda: recorded_effects(letter) == ["hello"])
    finally:
        outbox.wake_callbacks.append(engine.wake_relay)


def test_several_engines_handle_each_event_once_and_in_order(engines, letter):
    register_handler(record_text)
    letters = [uuid7() for _ in range(20)]
    engines(3)
    for one in letters:
        publish_letters(one, "1", "2", "3", "4")
    assert eventually(lambda: all(len(recorded_effects(one)) >= 4 for one in letters))
    assert all(recorded_effects(one) == ["1", "2", "3", "4"] for one in letters)


def test_a_bug_in_a_handler_does_not_stop_the_others(engines, letter):
    def buggy(event):
        raise ZeroDivisionError

    register_handler(buggy)
    register_handler(record_text)
    engines()
    publish_letters(letter, "hello")
    other = uuid7()
    publish_letters(other, "hello")
    assert eventually(lambda: recorded_effects(letter) == recorded_effects(other) == ["hello"])


def register_timer(run, seconds=0.05, context="orders"):
    run.__module__ = f"contexts.{context}.handlers"
    every(timedelta(seconds=seconds))(run)


def test_a_timer_runs_again_and_again(engines, letter):
    runs = []
    register_timer(lambda: runs.append(1))
    engines()
    assert eventually(lambda: len(runs) >= 3)


@pytest.mark.parametrize("bug", [ZeroDivisionError("bug"), OperationalError("outage")])
def test_a_timer_that_fails_runs_again_and_stops_nothing_else(engines, letter, bug):
    runs = []

    def failing():
        runs.append(1)
        raise bug

    register_timer(failing)
    register_handler(record_text)
    engines()
    publish_letters(letter, "hello")
    assert eventually(lambda: len(runs) >= 3 and recorded_effects(letter) == ["hello"])


def test_a_woken_timer_runs_immediately(engines, letter):
    runs = []
    register_timer(lambda: runs.append(1), seconds=3600)
    [engine] = engines()
    assert eventually(lambda: len(runs) == 1)
    engine.run_timer_now("orders.<lambda>")
    assert eventually(lambda: len(runs) == 2)
    engine.run_timer_now("orders.unknown")


def test_a_timer_without_wakeup_runs_late(letter):
    runs = []
    register_timer(lambda: runs.append(1), seconds=0.01)
    engine = Engine(("orders",), timer_delay=0.1)
    assert {one.name: one.interval_seconds for one in engine.timers}["orders.<lambda>"] == pytest.approx(0.11)
    engine.start()
    try:
        assert eventually(lambda: len(runs) >= 3)
    finally:
        engine.stop()


def test_an_engine_works_for_its_own_contexts_only(letter):
    register_handler(record_text)
    engine = Engine((PUBLISHER,))
    engine.start()
    try:
        publish_letters(letter, "hello")
        assert eventually(lambda: inbox_rows(letter))
        engine.wake_handlers(SUBSCRIBER)
        assert {thread.name.rpartition("-")[2] for thread in engine.threads} == {PUBLISHER, "0", "1"}
    finally:
        engine.stop()
    assert recorded_effects(letter) == []


def test_an_engine_continues_after_its_connections_were_lost(engines, letter):
    register_handler(record_text)
    engines()
    publish_letters(letter, "before")
    assert eventually(lambda: recorded_effects(letter) == ["before"])
    for alias in hosted_contexts():
        terminate_other_connections(alias)
    publish_letters(letter, "after", first=2)
    assert eventually(lambda: recorded_effects(letter) == ["before", "after"])


def terminate_other_connections(alias):
    fetch_rows(
        alias,
        """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                   WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()""",
    )


def test_a_test_thread_does_not_block_the_engine(engines, letter):
    register_handler(record_text)
    terminate_connection("notifications")
    connections.close_all()
    engines()
    publish_letters(letter, "hello")
    assert eventually(lambda: recorded_effects(letter) == ["hello"])


def test_an_endless_event_loop_is_detected(letter):
    def answer(event):
        publish_letters(event.letter_id, "again", first=int(time.time() * 1e6))

    register_handler(answer, context="payments", atomic=False)
    publish_letters(letter, "hello")
    with pytest.raises(RuntimeError, match="trigger each other"):
        run_until_idle(max_rounds=5)
    assert LetterSent.name in events.build_subscriptions()


def test_all_rows_of_a_dead_worker_are_taken_over_in_one_pass(letter):
    """Rows are claimed one at a time, but one call handles all of them."""
    register_handler(record_text)
    letters = [uuid7() for _ in range(3)]
    for one in letters:
        deliver(one, "abandoned")
        [row] = inbox_rows(one)
        execute(SUBSCRIBER, "UPDATE shop_inboxrow SET starts = 1, attempt = 1 WHERE id = %s", [row.pk])
    handle_abandoned(SUBSCRIBER)
    assert [recorded_effects(one) for one in letters] == [["abandoned"]] * 3
