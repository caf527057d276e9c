"""Delivery: every event reaches every subscriber in stream order, with any number of attempts."""

import threading
from datetime import timedelta

import msgspec
import pytest
from django.db import connections

from shop import clock
from shop.db.database import execute, fetch_rows, transaction
from shop.db.retention import list_model_rules
from shop.ids import uuid7
from shop.messaging import handling, inbox, relay
from shop.messaging.engine import run_until_idle
from shop.messaging.events import Envelope
from shop.messaging.outbox import Revision, publish
from shop.models import InboxRow, OutboxEvent
from shop.purging import purge_now
from tests.concurrency import run_concurrently, run_in_thread
from tests.shop.db.superuser_session import terminate_connection
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
    with_lock_timeout,
)


def ignore(event):
    """Handle the event without an effect."""


def make_envelope(letter, **changes):
    return Envelope(
        **{
            "id": uuid7(),
            "name": LetterSent.name,
            "version": 1,
            "stream": stream(letter),
            "sequence": 1,
            "occurred_at": clock.now(),
            "hops": 0,
            "correlation_id": "c",
            "causation_id": "c",
            "traceparent": "",
            "payload": msgspec.Raw(msgspec.json.encode({"letter_id": letter, "text": "hello"})),
        }
        | changes
    )


def test_a_later_event_of_a_stream_waits_for_the_earlier_ones(letter):
    register_handler(record_text)
    publish_letters(letter, "one", "two", "three")
    arrived = []
    for _ in range(3):
        relay.deliver_due(PUBLISHER)
        arrived.append([row.sequence for row in inbox_rows(letter)])
    assert arrived == [[1], [1, 2], [1, 2, 3]]


def test_an_unacknowledged_event_blocks_only_its_stream_and_subscriber(letter):
    other = uuid7()
    register_handler(record_text)
    register_handler(ignore, context="users")
    publish_letters(letter, "one", "two")
    sql = "UPDATE shop_delivery SET due_at = now() + interval '1 hour' WHERE stream = %s AND subscriber = 'orders'"
    execute(PUBLISHER, sql, [stream(letter)])
    publish_letters(other, "other stream")
    run_until_idle()
    assert recorded_effects(letter) == []
    assert [row.sequence for row in inbox_rows(letter, "users")] == [1, 2]
    assert recorded_effects(other) == ["other stream"]


def test_events_are_handled_in_stream_order(letter):
    register_handler(record_text)
    texts = [str(number) for number in range(20)]
    publish_letters(letter, *texts)
    run_until_idle()
    assert recorded_effects(letter) == texts


@pytest.fixture
def late_commit(letter):
    """A transaction that publishes first and commits last. Call the fixture to let it commit."""
    published, go_on = threading.Event(), threading.Event()

    def hold():
        with transaction(PUBLISHER):
            publish(LetterSent(letter_id=letter, text="late"), row=Revision())
            fetch_rows(PUBLISHER, "SELECT 1")  # send the deferred INSERT now, not with COMMIT
            published.set()
            go_on.wait(10)
        connections.close_all()

    thread = threading.Thread(target=hold)

    def finish():
        go_on.set()
        thread.join()

    register_handler(record_text)
    thread.start()
    published.wait(10)
    yield finish
    finish()


def test_an_event_that_commits_late_is_not_skipped(letter, late_commit):
    early = uuid7()
    publish_letters(early, "early")
    run_until_idle()
    late_commit()
    run_until_idle()
    assert (recorded_effects(early), recorded_effects(letter)) == (["early"], ["late"])


def test_control_paging_by_id_skips_events_that_commit_late(letter, late_commit):
    def next_page(last):
        return [
            one for [one] in fetch_rows(PUBLISHER, "SELECT id FROM shop_delivery WHERE id > %s ORDER BY id", [last])
        ]

    early = uuid7()
    publish_letters(early, "early")
    first_page = next_page(0)
    late_commit()
    assert deliveries(early)[0].id in first_page
    assert deliveries(letter)[0].id not in first_page + next_page(first_page[-1])


def deliver_all():
    while relay.deliver_due(PUBLISHER) + handling.handle_due(SUBSCRIBER):
        pass


def test_concurrent_relays_deliver_once(letter):
    register_handler(record_text)
    letters = [letter, *(uuid7() for _ in range(150))]
    for one in letters:
        publish_letters(one, "hello")
    run_concurrently(deliver_all, deliver_all, deliver_all, deliver_all)
    assert {one.attempts for each in letters for one in deliveries(each)} == {1}
    assert all(recorded_effects(each) == ["hello"] for each in letters)


def test_a_delivery_locked_by_another_relay_is_skipped(letter):
    register_handler(record_text)
    publish_letters(letter, "hello")
    with transaction(PUBLISHER):
        fetch_rows(PUBLISHER, "SELECT 1 FROM shop_delivery WHERE stream = %s FOR UPDATE", [stream(letter)])
        run_in_thread(lambda: with_lock_timeout(PUBLISHER, relay.deliver_due))
    assert deliveries(letter)[0].attempts == 0


def test_control_relays_without_claims_take_the_same_event(letter):
    register_handler(record_text)
    publish_letters(letter, "hello")

    def find_unacknowledged():
        return fetch_rows(
            PUBLISHER, "SELECT id FROM shop_delivery WHERE stream = %s AND acknowledged_at IS NULL", [stream(letter)]
        )

    one, other = run_concurrently(find_unacknowledged, find_unacknowledged)
    assert one == other != []


def test_a_second_delivery_changes_nothing(letter):
    register_handler(record_text)
    envelope = make_envelope(letter)
    for _ in range(3):
        assert inbox.accept(SUBSCRIBER, [envelope]) == {}
    run_until_idle()
    assert inbox.accept(SUBSCRIBER, [envelope, envelope]) == {}
    run_until_idle()
    assert recorded_effects(letter) == ["hello"]
    assert len(inbox_rows(letter)) == 1


def test_concurrent_deliveries_leave_one_row(letter):
    register_handler(record_text)
    envelope = make_envelope(letter)
    assert run_concurrently(*[lambda: inbox.accept(SUBSCRIBER, [envelope])] * 8) == [{}] * 8
    assert len(inbox_rows(letter)) == 1


def test_control_without_the_unique_constraint_an_event_is_accepted_twice(letter):
    register_handler(record_text)
    inbox.accept(SUBSCRIBER, [make_envelope(letter)])
    with transaction(SUBSCRIBER):
        fetch_rows(SUBSCRIBER, "CREATE TEMP TABLE scratch (LIKE shop_inboxrow) ON COMMIT DROP")
        for _ in range(2):
            fetch_rows(
                SUBSCRIBER, "INSERT INTO scratch SELECT * FROM shop_inboxrow WHERE stream = %s", [stream(letter)]
            )
        assert fetch_rows(SUBSCRIBER, "SELECT count(*) FROM scratch") == [(2,)]


def test_a_lost_acknowledgement_leads_to_redelivery_and_one_effect(letter):
    register_handler(record_text)
    publish_letters(letter, "hello")
    run_until_idle()
    execute(PUBLISHER, "UPDATE shop_delivery SET acknowledged_at = NULL WHERE stream = %s", [stream(letter)])
    make_all_due(letter)
    run_until_idle()
    [delivery] = deliveries(letter)
    assert (delivery.attempts, delivery.acknowledged_at is not None) == (2, True)
    assert recorded_effects(letter) == ["hello"]


def deliver_expecting_refusal(letter):
    run_until_idle()
    [delivery] = deliveries(letter)
    assert delivery.acknowledged_at is None
    assert inbox_rows(letter) == recorded_effects(letter) == []
    return delivery.error


def test_a_context_without_a_handler_acknowledges_nothing(letter, settings):
    settings.SUBSCRIPTIONS[LetterSent.name] = [SUBSCRIBER]
    publish_letters(letter, "hello")
    assert deliver_expecting_refusal(letter) == "orders has no handler for payments.test_letter_sent"


def test_a_newer_version_is_not_acknowledged(letter):
    register_handler(record_text)
    publish_letters(letter, "hello")
    execute(PUBLISHER, "UPDATE shop_outboxevent SET version = 2 WHERE stream = %s", [stream(letter)])
    assert deliver_expecting_refusal(letter) == "orders knows payments.test_letter_sent up to version 1, not 2"


def backdate(letter, days):
    sql = "UPDATE shop_outboxevent SET occurred_at = now() - %s WHERE stream = %s"
    execute(PUBLISHER, sql, [timedelta(days=days), stream(letter)])


def test_an_event_older_than_29_days_is_not_acknowledged(letter):
    register_handler(record_text)
    publish_letters(letter, "hello")
    backdate(letter, 29.01)
    assert deliver_expecting_refusal(letter).startswith("older than 29 days")


def test_an_event_younger_than_29_days_is_handled(letter):
    register_handler(record_text)
    publish_letters(letter, "hello")
    backdate(letter, 28.9)
    run_until_idle()
    assert recorded_effects(letter) == ["hello"]


def test_control_a_late_copy_that_is_accepted_has_its_effect_twice(letter):
    register_handler(record_text)
    envelope = make_envelope(letter)
    inbox.accept(SUBSCRIBER, [envelope])
    run_until_idle()
    execute(
        SUBSCRIBER,
        "UPDATE shop_inboxrow SET handled_at = now() - interval '31 days' WHERE stream = %s",
        [stream(letter)],
    )
    purge_now(SUBSCRIBER, list_model_rules(InboxRow))
    inbox.accept(SUBSCRIBER, [envelope])
    run_until_idle()
    assert recorded_effects(letter) == ["hello", "hello"]


def test_a_refused_event_is_delivered_once_the_handler_exists(letter, settings):
    settings.SUBSCRIPTIONS[LetterSent.name] = [SUBSCRIBER]
    publish_letters(letter, "hello")
    deliver_expecting_refusal(letter)
    register_handler(record_text)
    make_all_due(letter)
    run_until_idle()
    [delivery] = deliveries(letter)
    assert (delivery.acknowledged_at is not None, delivery.error) == (True, "")
    assert recorded_effects(letter) == ["hello"]


def test_a_subscriber_not_hosted_here_does_not_block_others(letter, settings):
    register_handler(record_text)
    settings.SUBSCRIPTIONS[LetterSent.name] = ["elsewhere", SUBSCRIBER]
    publish_letters(letter, "hello")
    run_until_idle()
    undelivered, arrived = deliveries(letter)
    assert (undelivered.acknowledged_at, "elsewhere" in undelivered.error) == (None, True)
    assert arrived.acknowledged_at is not None


def test_a_subscriber_with_a_broken_inbox_does_not_block_others(letter):
    register_handler(ignore, context="inventory")
    register_handler(record_text)
    fetch_rows("inventory", "ALTER TABLE shop_inboxrow RENAME TO hidden")
    try:
        publish_letters(letter, "hello")
        relay.deliver_due(PUBLISHER)
    finally:
        fetch_rows("inventory", "ALTER TABLE hidden RENAME TO shop_inboxrow")
    broken, arrived = deliveries(letter)
    assert (broken.acknowledged_at, "shop_inboxrow" in broken.error) == (None, True)
    assert arrived.acknowledged_at is not None


def test_delivery_continues_after_the_subscriber_connection_was_lost(letter):
    register_handler(record_text)
    publish_letters(letter, "hello")
    terminate_connection(SUBSCRIBER)
    relay.deliver_due(PUBLISHER)
    assert deliveries(letter)[0].acknowledged_at is None
    make_all_due(letter)
    run_until_idle()
    assert recorded_effects(letter) == ["hello"]


def test_deliveries_back_off_up_to_ten_seconds(letter, settings):
    settings.SUBSCRIPTIONS[LetterSent.name] = ["elsewhere"]
    publish_letters(letter, "hello")
    waits = []
    for _ in range(6):
        make_all_due(letter)
        relay.deliver_due(PUBLISHER)
        waits += fetch_rows(
            PUBLISHER,
            "SELECT round(extract(epoch FROM due_at - now())) FROM shop_delivery WHERE stream = %s",
            [stream(letter)],
        )
    assert [int(seconds) for [seconds] in waits] == [2, 4, 8, 10, 10, 10]


def test_the_lag_is_the_age_of_the_oldest_undelivered_event(letter, settings):
    settings.SUBSCRIPTIONS[LetterSent.name] = ["elsewhere"]
    publish_letters(letter, "hello")
    backdate(letter, 1)
    assert relay.measure_lag(PUBLISHER) >= timedelta(days=1).total_seconds()


def test_only_events_delivered_to_all_subscribers_are_purged(letter, settings):
    register_handler(ignore)
    waiting = uuid7()
    publish_letters(letter, "old")
    publish_letters(waiting, "old")
    run_until_idle()
    settings.SUBSCRIPTIONS[LetterSent.name] = ["elsewhere"]
    publish_letters(waiting, "undelivered", first=2)
    backdate(letter, 31)
    backdate(waiting, 31)
    purge_now(PUBLISHER, list_model_rules(OutboxEvent))
    assert deliveries(letter) == []
    assert [one.sequence for one in deliveries(waiting)] == [1, 2]


def test_recent_events_are_not_purged(letter):
    register_handler(ignore)
    publish_letters(letter, "young")
    run_until_idle()
    purge_now(PUBLISHER, list_model_rules(OutboxEvent))
    assert len(deliveries(letter)) == 1
