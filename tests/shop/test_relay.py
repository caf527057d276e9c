"""Delivery: every fact reaches every subscriber, in order within its stream, however often it is tried."""

import threading
from datetime import timedelta

import msgspec
import pytest
from django.db import connections

from shop import clock, inbox, relay
from shop.database import changed, rows, transaction
from shop.engine import run_until_idle
from shop.events import Envelope
from shop.ids import uuid7
from shop.outbox import publish
from tests.shop.post import (
    READER,
    SENDER,
    LetterSent,
    deliveries,
    hurry,
    impatient,
    inbox_rows,
    listen,
    notes,
    read,
    send,
    stream,
)
from tests.shop.server import cut_connection
from tests.threads import at_once, elsewhere


def ignore(event):
    """Handle the fact without an effect."""


def envelope(letter, **more):
    return Envelope(
        **{
            "id": uuid7(), "name": LetterSent.name, "version": 1, "stream": stream(letter), "sequence": 1,
            "occurred_at": clock.now(), "hops": 0, "correlation_id": "c", "causation_id": "c", "traceparent": "",
            "payload": msgspec.Raw(msgspec.json.encode({"letter_id": letter, "text": "hello"})),
        }
        | more
    )  # fmt: skip


def test_a_later_fact_of_a_stream_waits_for_the_earlier_ones(letter):
    listen(read)
    send(letter, "one", "two", "three")
    arrived = []
    for _ in range(3):
        relay.deliver_due(SENDER)
        arrived.append([row.sequence for row in inbox_rows(letter)])
    assert arrived == [[1], [1, 2], [1, 2, 3]]


def test_a_fact_that_was_not_acknowledged_holds_back_only_its_own_stream_and_subscriber(letter):
    other = uuid7()
    listen(read)
    listen(ignore, context="users")
    send(letter, "one", "two")
    changed(SENDER, "UPDATE shop_delivery SET due_at = now() + interval '1 hour' WHERE stream = %s AND subscriber = 'orders'",
            [stream(letter)])  # fmt: skip
    send(other, "other stream")
    run_until_idle()
    assert notes(letter) == []
    assert [row.sequence for row in inbox_rows(letter, "users")] == [1, 2]
    assert notes(other) == ["other stream"]


def test_facts_are_handled_in_the_order_of_their_stream(letter):
    listen(read)
    texts = [str(number) for number in range(20)]
    send(letter, *texts)
    run_until_idle()
    assert notes(letter) == texts


@pytest.fixture
def late_commit(letter):
    """A transaction that published first and commits last; `finish` lets it commit."""
    published, go_on = threading.Event(), threading.Event()

    def hold():
        with transaction(SENDER):
            publish(LetterSent(letter_id=letter, text="late"), sequence=1)
            rows(SENDER, "SELECT 1")  # else it would go with COMMIT
            published.set()
            go_on.wait(10)
        connections.close_all()

    thread = threading.Thread(target=hold)

    def finish():
        go_on.set()
        thread.join()

    listen(read)
    thread.start()
    published.wait(10)
    yield finish
    finish()


def test_what_commits_late_is_not_skipped(letter, late_commit):
    early = uuid7()
    send(early, "early")
    run_until_idle()
    late_commit()
    run_until_idle()
    assert (notes(early), notes(letter)) == (["early"], ["late"])


def test_paging_by_id_would_skip_what_commits_late(letter, late_commit):
    def next_page(last):
        return [one for [one] in rows(SENDER, "SELECT id FROM shop_delivery WHERE id > %s ORDER BY id", [last])]

    early = uuid7()
    send(early, "early")
    seen = next_page(0)
    late_commit()
    assert deliveries(early)[0].id in seen
    assert deliveries(letter)[0].id not in seen + next_page(seen[-1])


def drain():
    while relay.deliver_due(SENDER) + inbox.handle_due(READER):
        pass


def test_two_relays_at_once_deliver_once(letter):
    listen(read)
    letters = [letter, *(uuid7() for _ in range(150))]
    for one in letters:
        send(one, "hello")
    at_once(drain, drain, drain, drain)
    assert {one.attempts for each in letters for one in deliveries(each)} == {1}
    assert all(notes(each) == ["hello"] for each in letters)


def test_a_delivery_that_another_relay_is_claiming_is_passed_over(letter):
    listen(read)
    send(letter, "hello")
    with transaction(SENDER):
        rows(SENDER, "SELECT 1 FROM shop_delivery WHERE stream = %s FOR UPDATE", [stream(letter)])
        elsewhere(lambda: impatient(SENDER, relay.deliver_due))
    assert deliveries(letter)[0].attempts == 0


def test_two_relays_that_do_not_claim_would_both_take_a_fact(letter):
    listen(read)
    send(letter, "hello")

    def look():
        return rows(SENDER, "SELECT id FROM shop_delivery WHERE stream = %s AND acknowledged_at IS NULL", [stream(letter)])

    one, other = at_once(look, look)
    assert one == other != []


def test_a_second_hand_over_changes_nothing(letter):
    listen(read)
    fact = envelope(letter)
    for _ in range(3):
        assert inbox.accept(READER, [fact]) == {}
    run_until_idle()
    assert inbox.accept(READER, [fact, fact]) == {}
    run_until_idle()
    assert notes(letter) == ["hello"]
    assert len(inbox_rows(letter)) == 1


def test_hand_overs_at_the_same_moment_leave_one_row(letter):
    listen(read)
    fact = envelope(letter)
    assert at_once(*[lambda: inbox.accept(READER, [fact])] * 8) == [{}] * 8
    assert len(inbox_rows(letter)) == 1


def test_an_inbox_without_its_unique_constraint_would_take_a_fact_twice(letter):
    listen(read)
    inbox.accept(READER, [envelope(letter)])
    with transaction(READER):
        rows(READER, "CREATE TEMP TABLE scratch (LIKE shop_inboxrow) ON COMMIT DROP")
        for _ in range(2):
            rows(READER, "INSERT INTO scratch SELECT * FROM shop_inboxrow WHERE stream = %s", [stream(letter)])
        assert rows(READER, "SELECT count(*) FROM scratch") == [(2,)]


def test_a_lost_acknowledgement_is_followed_by_another_hand_over_and_one_effect(letter):
    listen(read)
    send(letter, "hello")
    run_until_idle()
    changed(SENDER, "UPDATE shop_delivery SET acknowledged_at = NULL WHERE stream = %s", [stream(letter)])
    hurry(letter)
    run_until_idle()
    [delivery] = deliveries(letter)
    assert (delivery.attempts, delivery.acknowledged_at is not None) == (2, True)
    assert notes(letter) == ["hello"]


def refused(letter):
    run_until_idle()
    [delivery] = deliveries(letter)
    assert delivery.acknowledged_at is None
    assert inbox_rows(letter) == notes(letter) == []
    return delivery.error


def test_a_context_without_a_handler_acknowledges_nothing(letter, settings):
    settings.SUBSCRIPTIONS[LetterSent.name] = [READER]
    send(letter, "hello")
    assert refused(letter) == "orders has no handler for payments.test_letter_sent"


def test_a_newer_version_is_not_acknowledged(letter):
    listen(read)
    send(letter, "hello")
    changed(SENDER, "UPDATE shop_outboxevent SET version = 2 WHERE stream = %s", [stream(letter)])
    assert refused(letter) == "orders knows payments.test_letter_sent up to version 1, not 2"


def age(letter, days):
    changed(SENDER, "UPDATE shop_outboxevent SET occurred_at = now() - %s WHERE stream = %s",
            [timedelta(days=days), stream(letter)])  # fmt: skip


def test_what_is_older_than_29_days_is_not_acknowledged(letter):
    listen(read)
    send(letter, "hello")
    age(letter, 29.01)
    assert refused(letter).startswith("older than 29 days")


def test_what_is_younger_than_29_days_is_handled(letter):
    listen(read)
    send(letter, "hello")
    age(letter, 28.9)
    run_until_idle()
    assert notes(letter) == ["hello"]


def test_a_late_copy_that_is_not_refused_would_have_its_effect_twice(letter):
    listen(read)
    fact = envelope(letter)
    inbox.accept(READER, [fact])
    run_until_idle()
    changed(READER, "UPDATE shop_inboxrow SET handled_at = now() - interval '31 days' WHERE stream = %s", [stream(letter)])
    inbox.purge(READER)
    inbox.accept(READER, [fact])
    run_until_idle()
    assert notes(letter) == ["hello", "hello"]


def test_what_was_refused_is_delivered_once_the_handler_is_there(letter, settings):
    settings.SUBSCRIPTIONS[LetterSent.name] = [READER]
    send(letter, "hello")
    refused(letter)
    listen(read)
    hurry(letter)
    run_until_idle()
    [delivery] = deliveries(letter)
    assert (delivery.acknowledged_at is not None, delivery.error) == (True, "")
    assert notes(letter) == ["hello"]


def test_a_subscriber_that_this_process_does_not_host_holds_up_nobody_else(letter, settings):
    listen(read)
    settings.SUBSCRIPTIONS[LetterSent.name] = ["elsewhere", READER]
    send(letter, "hello")
    run_until_idle()
    gone, arrived = deliveries(letter)
    assert (gone.acknowledged_at, "elsewhere" in gone.error) == (None, True)
    assert arrived.acknowledged_at is not None


def test_a_subscriber_whose_inbox_is_broken_holds_up_nobody_else(letter):
    listen(ignore, context="inventory")
    listen(read)
    rows("inventory", "ALTER TABLE shop_inboxrow RENAME TO hidden")
    try:
        send(letter, "hello")
        relay.deliver_due(SENDER)
    finally:
        rows("inventory", "ALTER TABLE hidden RENAME TO shop_inboxrow")
    broken, arrived = deliveries(letter)
    assert (broken.acknowledged_at, "shop_inboxrow" in broken.error) == (None, True)
    assert arrived.acknowledged_at is not None


def test_delivery_goes_on_after_the_connection_to_the_subscriber_was_lost(letter):
    listen(read)
    send(letter, "hello")
    cut_connection(READER)
    relay.deliver_due(SENDER)
    assert deliveries(letter)[0].acknowledged_at is None
    hurry(letter)
    run_until_idle()
    assert notes(letter) == ["hello"]


def test_hand_overs_back_off_up_to_ten_seconds(letter, settings):
    settings.SUBSCRIPTIONS[LetterSent.name] = ["elsewhere"]
    send(letter, "hello")
    waits = []
    for _ in range(6):
        hurry(letter)
        relay.deliver_due(SENDER)
        waits += rows(SENDER, "SELECT round(extract(epoch FROM due_at - now())) FROM shop_delivery WHERE stream = %s",
                      [stream(letter)])  # fmt: skip
    assert [int(seconds) for [seconds] in waits] == [2, 4, 8, 10, 10, 10]


def test_the_lag_is_the_age_of_the_oldest_undelivered_fact(letter, settings):
    settings.SUBSCRIPTIONS[LetterSent.name] = ["elsewhere"]
    send(letter, "hello")
    age(letter, 1)
    assert relay.lag(SENDER) >= timedelta(days=1).total_seconds()


def test_only_facts_that_everybody_has_are_purged(letter, settings):
    listen(ignore)
    waiting = uuid7()
    send(letter, "old")
    send(waiting, "old")
    run_until_idle()
    settings.SUBSCRIPTIONS[LetterSent.name] = ["elsewhere"]
    send(waiting, "undelivered", first=2)
    age(letter, 31)
    age(waiting, 31)
    relay.purge(SENDER)
    assert deliveries(letter) == []
    assert [one.sequence for one in deliveries(waiting)] == [1, 2]


def test_young_facts_are_not_purged(letter):
    listen(ignore)
    send(letter, "young")
    run_until_idle()
    relay.purge(SENDER)
    assert len(deliveries(letter)) == 1
