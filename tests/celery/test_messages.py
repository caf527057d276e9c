"""What travels through a broker: acknowledged by who has stored it, and by nobody else."""

import json
import threading
from functools import partial

import pytest

from config import messages, tasks
from config.beat import Scheduler
from config.celery import THREADS, app
from config.messages import Bells, broker, carry
from config.watchdog import HEARTBEATS, Watchdog
from shop import engine, inbox, outbox, relay
from shop.database import hosted
from shop.engine import run_until_idle
from tests.celery.brokers import Line
from tests.config.trees import free_port
from tests.shop.post import READER, SENDER, LetterSent, deliveries, hurry, inbox_rows, listen, notes, read, send
from tests.shop.server import cut_connection, name_of, session, superuser
from tests.threads import at_once, eventually

deliver = partial(relay.deliver_due, SENDER, send=carry)


def acknowledged(letter):
    return [one.acknowledged_at is not None for one in deliveries(letter)]


def test_a_delivery_ends_when_the_subscriber_says_that_it_has_stored_it(hand, letter):
    listen(read)
    send(letter, "hello")
    deliver()
    [(task, arguments)] = accept = hand.take()
    assert (task, acknowledged(letter), inbox_rows(letter)) == ("accept", [False], [])
    hand.do(accept)
    [(task, arguments)] = acknowledge = hand.take()
    assert (task, acknowledged(letter), len(inbox_rows(letter))) == ("acknowledge", [False], 1)
    assert arguments[:2] == [READER, SENDER]
    assert json.loads(arguments[2]) == {"stored": [str(deliveries(letter)[0].event_id)], "refused": {}}
    hand.do(acknowledge)
    assert acknowledged(letter) == [True]


def test_what_is_refused_is_not_acknowledged_and_says_why(hand, letter, settings):
    settings.SUBSCRIPTIONS[LetterSent.name] = [READER]
    send(letter, "hello")
    deliver()
    hand.do(hand.take())
    hand.do(hand.take())
    [delivery] = deliveries(letter)
    assert (delivery.acknowledged_at, delivery.error) == (None, f"{READER} has no handler for {LetterSent.name}")


def test_nothing_is_believed_that_its_sender_did_not_seal(hand, letter, settings):
    listen(read)
    send(letter, "hello")
    deliver()
    [(accept, [publisher, subscriber, envelopes, seal])] = hand.take()
    forged = [
        [publisher, subscriber, envelopes.replace("hello", "hacked"), seal],
        ["inventory", subscriber, envelopes, seal],
        [publisher, "inventory", envelopes, seal],
        ["nobody", subscriber, envelopes, seal],
        [publisher, subscriber, envelopes, ""],
    ]
    hand.do([(accept, words) for words in forged])
    assert (inbox_rows(letter), hand.take()) == ([], [])
    settings.CALL_KEYS = settings.CALL_KEYS | {SENDER: ["new" * 20, *settings.CALL_KEYS[SENDER]]}
    hand.do([(accept, [publisher, subscriber, envelopes, seal])])
    [(acknowledge, words)] = hand.take()
    hand.do([(acknowledge, [*words[:3], seal])])
    assert acknowledged(letter) == [False]
    hand.do([(acknowledge, words)])
    assert acknowledged(letter) == [True]


def test_what_could_not_be_stored_is_not_acknowledged(hand, letter):
    listen(read)
    send(letter, "hello")
    deliver()
    accept = hand.take()
    cut_connection(READER)
    hand.do(accept)
    assert (inbox_rows(letter), hand.take(), acknowledged(letter)) == ([], [], [False])
    hand.do(accept)
    assert [task for task, _ in hand.take()] == ["acknowledge"]


def test_messages_that_come_twice_or_late_change_nothing(hand, letter):
    listen(read)
    send(letter, "1", "2", "3")
    seen = []
    while deliver():
        while come := hand.take():
            hand.do(come + come)
            seen += come
    run_until_idle()
    hand.do(seen[::-1])
    hand.do(hand.take())
    run_until_idle()
    assert [task for task, _ in seen].count("accept") == 3
    assert (notes(letter), acknowledged(letter)) == (["1", "2", "3"], [True] * 3)


def test_what_a_broker_loses_is_handed_over_without_it(hand, letter):
    listen(read)
    send(letter, "hello")
    deliver()
    hand.empty()
    deliver()
    assert acknowledged(letter) == [False]  # the broker has its time
    hurry(letter)
    deliver()
    assert (acknowledged(letter), hand.take()) == ([True], [])


def test_the_next_fact_of_a_stream_follows_an_acknowledgement_at_once(hand, letter):
    listen(read)
    send(letter, "1", "2")
    bell = tasks.Here.engine.relays[SENDER]
    for more in (True, False):
        deliver()
        hand.do(hand.take())
        bell.clear()
        hand.do(hand.take())
        assert bell.is_set() is more


def test_an_acknowledgement_that_is_lost_is_given_again(hand, letter):
    listen(read)
    send(letter, "hello")
    deliver()
    hand.do(hand.take())
    hand.empty()
    hurry(letter)
    deliver()
    run_until_idle()
    assert (notes(letter), acknowledged(letter)) == (["hello"], [True])


PATIENCE = 0.3  # seconds with a broker that does not work


@pytest.fixture(params=["refuses", "is silent", "falls silent", "is slow"])
def bad_broker(request, server, connected, monkeypatch, caplog):
    """Connect to one that does not work, and is left alone then; names of the threads that had to do with it."""
    line = Line(server.port, dead=request.param == "is silent", slow=PATIENCE / 6 if request.param == "is slow" else 0.0)
    port = free_port() if request.param == "refuses" else line.port
    connected(server.url.replace(str(server.port), str(port)))
    monkeypatch.setattr(messages, "LIMITS", {kind: dict.fromkeys(names, PATIENCE) for kind, names in messages.LIMITS.items()})
    if request.param == "falls silent":
        assert broker.send("orders", "handle", "orders")
        line.die()
        line.dead = True
        broker.rests_until = 0.0  # it may have been slow
    monkeypatch.setattr(messages, "PATIENCE", PATIENCE)
    monkeypatch.setattr(messages, "REST", 3600.0)
    caplog.clear()
    caplog.set_level("WARNING", "config.messages")
    yield lambda: [one.threadName for one in caplog.records if one.name == "config.messages"]
    line.close()


def here():
    return threading.current_thread().name


def test_a_broker_that_does_not_work_is_asked_once(bad_broker, letter):
    listen(read)
    for sequence in (1, 2):
        send(letter, "hello", first=sequence)
        deliver()
    assert bad_broker() == [here()]


def test_a_broker_that_does_not_work_is_done_without(bad_broker, letter):
    broker.send("orders", "handle", "orders")
    listen(read)
    send(letter, "hello")
    deliver()
    assert acknowledged(letter) == [True]


def test_who_rings_does_not_wait_for_a_broker_that_does_not_work(bad_broker, letter):
    """The thread that rings is another than the one that commits."""
    listen(read)
    bells = Bells()
    bells.start()
    try:
        send(letter, "hello")
        assert eventually(bad_broker) == [bells.thread.name]
        send(letter, "again", first=2)
    finally:
        bells.stop()
    assert bad_broker() == [bells.thread.name]


def test_a_commit_rings_at_the_publishers_workers_and_what_comes_in_at_the_subscribers(hand, letter):
    listen(read)
    bells = Bells()
    bells.start()
    try:
        send(letter, "hello")
        assert eventually(hand.take) == [("relay", [SENDER])]
        relay.deliver_due(SENDER)
        assert eventually(hand.take) == [("handle", [READER])]
    finally:
        bells.stop()
    assert bells.ring_relay not in outbox.doorbell
    assert bells.ring_handlers not in inbox.doorbell


def test_bells_for_contexts_of_this_process_are_not_sent(hand, letter):
    listen(read)
    bells = Bells(own=(SENDER,))
    bells.start()
    send(letter, "hello")
    bells.ring_relay(READER)
    bells.stop()
    assert hand.take() == [("relay", [READER])]


def test_a_queue_that_nobody_reads_does_not_grow_for_ever(hand, letter, monkeypatch):
    listen(read)
    monkeypatch.setattr(messages, "FULL", 5)
    monkeypatch.setattr(messages, "LOOK", 0.0)
    taken = [broker.send(READER, "handle", READER) for _ in range(20)]
    assert (taken.count(True), len(hand.take())) == (6, 6)
    for _ in range(20):
        broker.send(READER, "handle", READER)
    send(letter, "hello")
    deliver()
    assert acknowledged(letter) == [True]


def test_beat_rings_for_every_timer_of_every_context(hand):
    entries = app.conf.beat_schedule.values()
    rung = sorted(name for entry in entries for names in entry["args"][0].values() for name in names)
    assert rung == sorted(timer.name for timer in engine.timers(hosted()))
    scheduler = Scheduler(app=app)
    for entry in scheduler.schedule.values():
        scheduler.apply_async(entry)
    come = hand.take()
    assert sorted(name for task, (_, names) in come for name in names) == rung
    assert {task for task, _ in come} == {"timers"}
    hand.do(come + come)


def test_beat_does_not_wait_for_a_broker_that_does_not_work(bad_broker):
    scheduler = Scheduler(app=app)
    for entry in scheduler.schedule.values():
        scheduler.apply_async(entry)
    assert bad_broker() == [here()]


@pytest.fixture
def watchdog(server):
    """Of the reader's queue, and for whom it has barked."""
    barked = []
    return Watchdog((READER,), 3600, barked.append), barked


def test_a_watchdog_barks_where_nothing_comes_out_of_a_queue(hand, watchdog):
    watchdog, barked = watchdog
    for _ in range(HEARTBEATS):
        watchdog.look()
    assert barked == []
    watchdog.look()
    assert (barked, len(hand.take())) == ([READER], HEARTBEATS)


def test_a_watchdog_is_quiet_as_long_as_anything_comes(hand, watchdog):
    watchdog, barked = watchdog
    tasks.Here.watchdog = watchdog
    for _ in range(3 * HEARTBEATS):
        watchdog.look()
        hand.do(hand.take())
    assert barked == []


def test_a_watchdog_is_not_interested_in_strangers(hand, watchdog):
    """Nobody has sealed their words: they neither keep it quiet nor give it more to watch."""
    watchdog, barked = watchdog
    tasks.Here.watchdog = watchdog
    strange = ["nobody", SENDER, *(f"stranger {n}" for n in range(10))]
    rings = [(task, [one]) for one in strange for task in ("relay", "handle", "heartbeat")]
    rings += [("timers", [one, []]) for one in strange]
    forged = [("accept", [SENDER, READER, "[]", ""]), ("acknowledge", [SENDER, READER, "{}", ""])]
    for _ in range(HEARTBEATS + 1):
        watchdog.look()
        hand.do(rings + forged)
    assert (list(watchdog.unheard), barked) == ([READER], [READER])
    assert hand.take() == [("heartbeat", [READER])] * HEARTBEATS
    assert broker.rests_until == 0.0


WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"


def test_a_watchdog_does_not_blame_its_worker_for_a_slow_database(hand, letter, watchdog):
    """Each of its threads waits there."""
    watchdog, barked = watchdog
    tasks.Here.watchdog = watchdog
    listen(read)
    send(letter, "hello")
    deliver()
    accept = hand.take()

    def look():
        eventually(lambda: superuser(WAITING, [name_of(READER)]) == [(THREADS,)])
        for _ in range(3 * HEARTBEATS):
            watchdog.look()
        other.execute("ROLLBACK")

    with session(name_of(READER)) as other:
        other.execute("BEGIN")
        other.execute("LOCK TABLE shop_inboxrow")
        at_once(look, *[partial(hand.do, accept)] * THREADS)
    assert barked == []
    for _ in range(HEARTBEATS + 1):
        watchdog.look()
    assert barked == [READER]


def test_a_watchdog_does_not_blame_its_worker_for_the_broker(bad_broker, watchdog):
    watchdog, barked = watchdog
    for _ in range(3 * HEARTBEATS):
        watchdog.look()
    assert barked == []


def test_a_watchdog_looks_by_itself(hand):
    barked = []
    watchdog = Watchdog((READER,), HEARTBEATS * 0.02, barked.append)
    watchdog.start()
    assert eventually(lambda: barked) == [READER]
    watchdog.stop()
