"""The embedded engine: everything flows by itself, and nothing stops it."""

import threading
import time
from datetime import timedelta

import pytest
from django.db import OperationalError

from shop import events, outbox
from shop.database import changed, hosted, rows
from shop.engine import Engine, run_until_idle, take_over
from shop.events import every
from shop.ids import uuid7
from tests.shop.post import READER, SENDER, LetterSent, deliver, inbox_rows, listen, note, notes, send
from tests.shop.server import cut_connection
from tests.threads import eventually


def read(event):
    note(event.letter_id, event.text)


@pytest.fixture
def engines(letter):
    """Start engines; all of them are stopped at the end."""
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
    assert engine.ring_relay not in outbox.doorbell


def test_an_engine_finishes_what_it_has_in_hand(engines, letter):
    began, go_on = threading.Event(), threading.Event()

    def slow(event):
        began.set()
        go_on.wait(10)
        note(event.letter_id)

    listen(slow)
    [engine] = engines()
    send(letter, "hello")
    assert began.wait(10)
    threading.Timer(0.2, go_on.set).start()
    engine.stop()
    assert notes(letter) == ["read"]


def test_facts_are_handled_as_they_come(engines, letter):
    """The doorbell brings each; how soon is for a bench to say."""
    handled = set()
    listen(lambda event: handled.add(event.letter_id), atomic=False)
    engines()
    for _ in range(50):
        one = uuid7()
        send(one, "hello")
        assert eventually(lambda awaited=one: awaited in handled)


def test_what_another_process_announced_is_found_without_a_doorbell(engines, letter):
    listen(read)
    [engine] = engines()
    outbox.doorbell.remove(engine.ring_relay)
    try:
        send(letter, "hello")
        assert eventually(lambda: notes(letter) == ["hello"], patience=2)
    finally:
        outbox.doorbell.append(engine.ring_relay)


def test_several_engines_handle_each_fact_once_and_in_order(engines, letter):
    listen(read)
    letters = [uuid7() for _ in range(20)]
    engines(3)
    for one in letters:
        send(one, "1", "2", "3", "4")
    assert eventually(lambda: all(len(notes(one)) >= 4 for one in letters))
    assert all(notes(one) == ["1", "2", "3", "4"] for one in letters)


def test_a_bug_in_a_handler_does_not_stop_the_others(engines, letter):
    def buggy(event):
        raise ZeroDivisionError

    listen(buggy)
    listen(read)
    engines()
    send(letter, "hello")
    other = uuid7()
    send(other, "hello")
    assert eventually(lambda: notes(letter) == notes(other) == ["hello"])


def timer(run, seconds=0.05, context="orders"):
    run.__module__ = f"contexts.{context}.handlers"
    every(timedelta(seconds=seconds))(run)


def test_a_timer_runs_again_and_again(engines, letter):
    runs = []
    timer(lambda: runs.append(1))
    engines()
    assert eventually(lambda: len(runs) >= 3)


@pytest.mark.parametrize("bug", [ZeroDivisionError("bug"), OperationalError("outage")])
def test_a_timer_that_fails_runs_again_and_stops_nothing_else(engines, letter, bug):
    runs = []

    def failing():
        runs.append(1)
        raise bug

    timer(failing)
    listen(read)
    engines()
    send(letter, "hello")
    assert eventually(lambda: len(runs) >= 3 and notes(letter) == ["hello"])


def test_a_timer_that_is_rung_for_runs_at_once(engines, letter):
    runs = []
    timer(lambda: runs.append(1), seconds=3600)
    [engine] = engines()
    assert eventually(lambda: len(runs) == 1)
    engine.ring_timer("orders.<lambda>")
    assert eventually(lambda: len(runs) == 2)
    engine.ring_timer("orders.nobody_has_it")


def test_a_timer_that_nobody_rings_for_runs_late(letter):
    runs = []
    timer(lambda: runs.append(1), seconds=0.01)
    engine = Engine(("orders",), late=0.1)
    assert {one.name: one.every for one in engine.timers}["orders.<lambda>"] == pytest.approx(0.11)
    engine.start()
    try:
        assert eventually(lambda: len(runs) >= 3)
    finally:
        engine.stop()


def test_an_engine_works_for_its_own_contexts_only(letter):
    listen(read)
    engine = Engine((SENDER,))
    engine.start()
    try:
        send(letter, "hello")
        assert eventually(lambda: inbox_rows(letter))
        engine.ring_handlers(READER)
        assert {thread.name.rpartition("-")[2] for thread in engine.threads} == {SENDER, "0", "1"}
    finally:
        engine.stop()
    assert notes(letter) == []


def test_an_engine_goes_on_after_its_connections_were_lost(engines, letter):
    listen(read)
    engines()
    send(letter, "before")
    assert eventually(lambda: notes(letter) == ["before"])
    for alias in hosted():
        cut_all_but_mine(alias)
    send(letter, "after", first=2)
    assert eventually(lambda: notes(letter) == ["before", "after"])


def cut_all_but_mine(alias):
    rows(alias, """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                   WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()""")  # fmt: skip


def test_a_thread_of_a_test_is_not_in_the_engines_way(engines, letter):
    listen(read)
    cut_connection("notifications")
    from django.db import connections

    connections.close_all()
    engines()
    send(letter, "hello")
    assert eventually(lambda: notes(letter) == ["hello"])


def test_facts_that_chase_each_other_are_noticed(letter):
    def answer(event):
        send(event.letter_id, "again", first=int(time.time() * 1e6))

    listen(answer, context="payments", atomic=False)
    send(letter, "hello")
    with pytest.raises(RuntimeError, match="events chase each other"):
        run_until_idle(rounds=5)
    assert LetterSent.name in events.subscriptions()


def test_all_that_a_dead_worker_had_in_hand_is_taken_over_at_one_look(letter):
    """One row after the other, each alone, but not one per look: a batch would take as many looks."""
    listen(read)
    letters = [uuid7() for _ in range(3)]
    for one in letters:
        deliver(one, "left behind")
        [row] = inbox_rows(one)
        changed(READER, "UPDATE shop_inboxrow SET starts = 1, attempt = 1 WHERE id = %s", [row.pk])
    take_over(READER)
    assert [notes(one) for one in letters] == [["left behind"]] * 3
