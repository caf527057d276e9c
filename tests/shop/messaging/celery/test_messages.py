"""Messages through a broker: only the subscriber that has stored an event acknowledges it."""

import json
import threading
from functools import partial

import pytest

from shop.db.database import hosted_contexts
from shop.messaging import engine, inbox, outbox, relay
from shop.messaging.celery import broker as broker_module
from shop.messaging.celery import tasks
from shop.messaging.celery.app import WORKER_THREADS, app
from shop.messaging.celery.beat import Scheduler
from shop.messaging.celery.broker import broker, send_envelopes
from shop.messaging.celery.wake_up import WakeUpSender
from shop.messaging.celery.watchdog import MAX_MISSED_HEARTBEATS, Watchdog
from shop.messaging.engine import run_until_idle
from tests.concurrency import eventually, run_concurrently
from tests.ports import reserve_port
from tests.shop.db.superuser_session import (
    database_name,
    execute_as_superuser,
    open_superuser_session,
    terminate_connection,
)
from tests.shop.messaging.celery.brokers import BrokerProxy
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
)

deliver = partial(relay.deliver_due, PUBLISHER, send=send_envelopes)


def list_acknowledged(letter):
    return [one.acknowledged_at is not None for one in deliveries(letter)]


def test_a_delivery_completes_when_the_subscriber_acknowledges_it(manual_worker, letter):
    register_handler(record_text)
    publish_letters(letter, "hello")
    deliver()
    [(task, arguments)] = accept = manual_worker.take_messages()
    assert (task, list_acknowledged(letter), inbox_rows(letter)) == ("accept", [False], [])
    manual_worker.execute(accept)
    [(task, arguments)] = acknowledge = manual_worker.take_messages()
    assert (task, list_acknowledged(letter), len(inbox_rows(letter))) == ("acknowledge", [False], 1)
    assert arguments[:2] == [SUBSCRIBER, PUBLISHER]
    assert json.loads(arguments[2]) == {"stored": [str(deliveries(letter)[0].event_id)], "refused": {}}
    manual_worker.execute(acknowledge)
    assert list_acknowledged(letter) == [True]


def test_a_refused_event_is_not_acknowledged_and_records_the_reason(manual_worker, letter, settings):
    settings.SUBSCRIPTIONS[LetterSent.name] = [SUBSCRIBER]
    publish_letters(letter, "hello")
    deliver()
    manual_worker.execute(manual_worker.take_messages())
    manual_worker.execute(manual_worker.take_messages())
    [delivery] = deliveries(letter)
    assert (delivery.acknowledged_at, delivery.error) == (None, f"{SUBSCRIBER} has no handler for {LetterSent.name}")


def test_messages_without_a_valid_signature_are_ignored(manual_worker, letter, settings):
    register_handler(record_text)
    publish_letters(letter, "hello")
    deliver()
    [(accept, [publisher, subscriber, envelopes, signature])] = manual_worker.take_messages()
    forged = [
        [publisher, subscriber, envelopes.replace("hello", "hacked"), signature],
        ["inventory", subscriber, envelopes, signature],
        [publisher, "inventory", envelopes, signature],
        ["unknown", subscriber, envelopes, signature],
        [publisher, subscriber, envelopes, ""],
    ]
    manual_worker.execute([(accept, arguments) for arguments in forged])
    assert (inbox_rows(letter), manual_worker.take_messages()) == ([], [])
    settings.CALL_KEYS = settings.CALL_KEYS | {PUBLISHER: ["new" * 20, *settings.CALL_KEYS[PUBLISHER]]}
    manual_worker.execute([(accept, [publisher, subscriber, envelopes, signature])])
    [(acknowledge, arguments)] = manual_worker.take_messages()
    manual_worker.execute([(acknowledge, [*arguments[:3], signature])])
    assert list_acknowledged(letter) == [False]
    manual_worker.execute([(acknowledge, arguments)])
    assert list_acknowledged(letter) == [True]


def test_an_event_that_could_not_be_stored_is_not_acknowledged(manual_worker, letter):
    register_handler(record_text)
    publish_letters(letter, "hello")
    deliver()
    accept = manual_worker.take_messages()
    terminate_connection(SUBSCRIBER)
    manual_worker.execute(accept)
    assert (inbox_rows(letter), manual_worker.take_messages(), list_acknowledged(letter)) == ([], [], [False])
    manual_worker.execute(accept)
    assert [task for task, _ in manual_worker.take_messages()] == ["acknowledge"]


def test_duplicate_and_late_messages_change_nothing(manual_worker, letter):
    register_handler(record_text)
    publish_letters(letter, "1", "2", "3")
    received = []
    while deliver():
        while messages := manual_worker.take_messages():
            manual_worker.execute(messages + messages)
            received += messages
    run_until_idle()
    manual_worker.execute(received[::-1])
    manual_worker.execute(manual_worker.take_messages())
    run_until_idle()
    assert [task for task, _ in received].count("accept") == 3
    assert (recorded_effects(letter), list_acknowledged(letter)) == (["1", "2", "3"], [True] * 3)


def test_a_message_lost_by_the_broker_is_delivered_directly(manual_worker, letter):
    register_handler(record_text)
    publish_letters(letter, "hello")
    deliver()
    manual_worker.discard_messages()
    deliver()
    assert list_acknowledged(letter) == [False]  # the broker still has time to deliver it
    make_all_due(letter)
    deliver()
    assert (list_acknowledged(letter), manual_worker.take_messages()) == ([True], [])


def test_the_next_event_of_a_stream_follows_an_acknowledgement_immediately(manual_worker, letter):
    register_handler(record_text)
    publish_letters(letter, "1", "2")
    wake_event = tasks.WorkerState.engine.relay_events[PUBLISHER]
    for has_more in (True, False):
        deliver()
        manual_worker.execute(manual_worker.take_messages())
        wake_event.clear()
        manual_worker.execute(manual_worker.take_messages())
        assert wake_event.is_set() is has_more


def test_a_lost_acknowledgement_is_repeated(manual_worker, letter):
    register_handler(record_text)
    publish_letters(letter, "hello")
    deliver()
    manual_worker.execute(manual_worker.take_messages())
    manual_worker.discard_messages()
    make_all_due(letter)
    deliver()
    run_until_idle()
    assert (recorded_effects(letter), list_acknowledged(letter)) == (["hello"], [True])


BROKER_TIMEOUT_SECONDS = 0.3


@pytest.fixture(params=["refuses connections", "never responds", "stops responding", "is slow"])
def broken_broker(request, server, connect_to_broker, monkeypatch, caplog):
    """Connect to a broker that does not work. Returns a function that lists the threads that met its error.

    The retry cooldown is long, so that no thread tries the broker again.
    """
    proxy = BrokerProxy(
        server.port,
        is_dead=request.param == "never responds",
        delay=BROKER_TIMEOUT_SECONDS / 6 if request.param == "is slow" else 0.0,
    )
    port = reserve_port() if request.param == "refuses connections" else proxy.port
    connect_to_broker(server.url.replace(str(server.port), str(port)))
    monkeypatch.setattr(
        broker_module,
        "SOCKET_TIMEOUTS",
        {kind: dict.fromkeys(names, BROKER_TIMEOUT_SECONDS) for kind, names in broker_module.SOCKET_TIMEOUTS.items()},
    )
    if request.param == "stops responding":
        assert broker.send("orders", "handle", "orders")
        proxy.cut_open_connections()
        proxy.is_dead = True
        broker.paused_until = 0.0  # the first message may have been slow
    monkeypatch.setattr(broker_module, "BROKER_TIMEOUT_SECONDS", BROKER_TIMEOUT_SECONDS)
    monkeypatch.setattr(broker_module, "RETRY_COOLDOWN_SECONDS", 3600.0)
    caplog.clear()
    caplog.set_level("WARNING", "shop.messaging.celery.broker")
    yield lambda: [record.threadName for record in caplog.records if record.name == "shop.messaging.celery.broker"]
    proxy.close()


def current_thread_name():
    return threading.current_thread().name


def test_a_broken_broker_is_tried_once(broken_broker, letter):
    register_handler(record_text)
    for sequence in (1, 2):
        publish_letters(letter, "hello", first=sequence)
        deliver()
    assert broken_broker() == [current_thread_name()]


def test_delivery_works_without_a_broken_broker(broken_broker, letter):
    broker.send("orders", "handle", "orders")
    register_handler(record_text)
    publish_letters(letter, "hello")
    deliver()
    assert list_acknowledged(letter) == [True]


def test_a_commit_does_not_wait_for_a_broken_broker(broken_broker, letter):
    """A thread of its own sends the wake-up, not the thread that commits."""
    register_handler(record_text)
    sender = WakeUpSender()
    sender.start()
    try:
        publish_letters(letter, "hello")
        assert eventually(broken_broker) == [sender.thread.name]
        publish_letters(letter, "again", first=2)
    finally:
        sender.stop()
    assert broken_broker() == [sender.thread.name]


def test_a_commit_wakes_the_publishers_workers_and_a_delivery_the_subscribers(manual_worker, letter):
    register_handler(record_text)
    sender = WakeUpSender()
    sender.start()
    try:
        publish_letters(letter, "hello")
        assert eventually(manual_worker.take_messages) == [("relay", [PUBLISHER])]
        relay.deliver_due(PUBLISHER)
        assert eventually(manual_worker.take_messages) == [("handle", [SUBSCRIBER])]
    finally:
        sender.stop()
    assert sender.wake_relay not in outbox.wake_callbacks
    assert sender.wake_handlers not in inbox.wake_callbacks


def test_wakeups_for_contexts_of_this_process_are_not_sent(manual_worker, letter):
    register_handler(record_text)
    sender = WakeUpSender(local_contexts=(PUBLISHER,))
    sender.start()
    publish_letters(letter, "hello")
    sender.wake_relay(SUBSCRIBER)
    sender.stop()
    assert manual_worker.take_messages() == [("relay", [SUBSCRIBER])]


def test_a_queue_without_consumer_is_limited(manual_worker, letter, monkeypatch):
    register_handler(record_text)
    monkeypatch.setattr(broker_module, "MAX_QUEUE_LENGTH", 5)
    monkeypatch.setattr(broker_module, "QUEUE_LENGTH_TTL_SECONDS", 0.0)
    sent = [broker.send(SUBSCRIBER, "handle", SUBSCRIBER) for _ in range(20)]
    assert (sent.count(True), len(manual_worker.take_messages())) == (6, 6)
    for _ in range(20):
        broker.send(SUBSCRIBER, "handle", SUBSCRIBER)
    publish_letters(letter, "hello")
    deliver()
    assert list_acknowledged(letter) == [True]


def test_beat_schedules_every_timer_of_every_context(manual_worker):
    entries = app.conf.beat_schedule.values()
    scheduled = sorted(name for entry in entries for names in entry["args"][0].values() for name in names)
    assert scheduled == sorted(timer.name for timer in engine.list_timers(hosted_contexts()))
    scheduler = Scheduler(app=app)
    for entry in scheduler.schedule.values():
        scheduler.apply_async(entry)
    messages = manual_worker.take_messages()
    assert sorted(name for task, (_, names) in messages for name in names) == scheduled
    assert {task for task, _ in messages} == {"timers"}
    manual_worker.execute(messages + messages)


def test_beat_does_not_wait_for_a_broken_broker(broken_broker):
    scheduler = Scheduler(app=app)
    for entry in scheduler.schedule.values():
        scheduler.apply_async(entry)
    assert broken_broker() == [current_thread_name()]


@pytest.fixture
def watchdog(server):
    """A watchdog of the subscriber's queue, and the list of contexts for which it has fired."""
    fired = []
    return Watchdog((SUBSCRIBER,), 3600, fired.append), fired


def test_the_watchdog_fires_when_no_message_arrives(manual_worker, watchdog):
    watchdog, fired = watchdog
    for _ in range(MAX_MISSED_HEARTBEATS):
        watchdog.check()
    assert fired == []
    watchdog.check()
    assert (fired, len(manual_worker.take_messages())) == ([SUBSCRIBER], MAX_MISSED_HEARTBEATS)


def test_the_watchdog_does_not_fire_while_messages_arrive(manual_worker, watchdog):
    watchdog, fired = watchdog
    tasks.WorkerState.watchdog = watchdog
    for _ in range(3 * MAX_MISSED_HEARTBEATS):
        watchdog.check()
        manual_worker.execute(manual_worker.take_messages())
    assert fired == []


def test_the_watchdog_ignores_unsigned_messages(manual_worker, watchdog):
    """They neither reset its counts nor add contexts to it."""
    watchdog, fired = watchdog
    tasks.WorkerState.watchdog = watchdog
    unwatched = ["unknown", PUBLISHER, *(f"stranger {n}" for n in range(10))]
    unsigned = [(task, [one]) for one in unwatched for task in ("relay", "handle", "heartbeat")]
    unsigned += [("timers", [one, []]) for one in unwatched]
    forged = [("accept", [PUBLISHER, SUBSCRIBER, "[]", ""]), ("acknowledge", [PUBLISHER, SUBSCRIBER, "{}", ""])]
    for _ in range(MAX_MISSED_HEARTBEATS + 1):
        watchdog.check()
        manual_worker.execute(unsigned + forged)
    assert (list(watchdog.missed_heartbeats), fired) == ([SUBSCRIBER], [SUBSCRIBER])
    assert manual_worker.take_messages() == [("heartbeat", [SUBSCRIBER])] * MAX_MISSED_HEARTBEATS
    assert broker.paused_until == 0.0


LOCK_WAITS_SQL = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"


def test_the_watchdog_does_not_fire_for_a_slow_database(manual_worker, letter, watchdog):
    """All threads of the worker wait for the database."""
    watchdog, fired = watchdog
    tasks.WorkerState.watchdog = watchdog
    register_handler(record_text)
    publish_letters(letter, "hello")
    deliver()
    accept = manual_worker.take_messages()

    def check_while_threads_wait():
        eventually(lambda: execute_as_superuser(LOCK_WAITS_SQL, [database_name(SUBSCRIBER)]) == [(WORKER_THREADS,)])
        for _ in range(3 * MAX_MISSED_HEARTBEATS):
            watchdog.check()
        session.execute("ROLLBACK")

    with open_superuser_session(database_name(SUBSCRIBER)) as session:
        session.execute("BEGIN")
        session.execute("LOCK TABLE shop_inboxrow")
        run_concurrently(check_while_threads_wait, *[partial(manual_worker.execute, accept)] * WORKER_THREADS)
    assert fired == []
    for _ in range(MAX_MISSED_HEARTBEATS + 1):
        watchdog.check()
    assert fired == [SUBSCRIBER]


def test_the_watchdog_does_not_fire_for_a_broken_broker(broken_broker, watchdog):
    watchdog, fired = watchdog
    for _ in range(3 * MAX_MISSED_HEARTBEATS):
        watchdog.check()
    assert fired == []


def test_the_watchdog_checks_periodically(manual_worker):
    fired = []
    watchdog = Watchdog((SUBSCRIBER,), MAX_MISSED_HEARTBEATS * 0.02, fired.append)
    watchdog.start()
    assert eventually(lambda: fired) == [SUBSCRIBER]
    watchdog.stop()
