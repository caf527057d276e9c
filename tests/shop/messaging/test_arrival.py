"""Arrival: events are handled in a batch as they are accepted, and what is not usual is left to handling one by one."""

from itertools import permutations

import pytest
from django.db import OperationalError
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from shop.calls import tracing
from shop.db.database import execute, fetch_rows, transaction
from shop.ids import uuid7
from shop.messaging import handling, inbox, relay
from shop.messaging.engine import run_until_idle
from shop.messaging.events import MAX_HOPS, on
from shop.messaging.outbox import Revision, publish
from shop.models import InboxRow
from tests.concurrency import run_concurrently, run_in_thread
from tests.shop.messaging.letters import (
    PUBLISHER,
    SUBSCRIBER,
    LetterLost,
    LetterSent,
    deliver,
    deliver_and_handle,
    deliveries,
    fail_on_poison,
    inbox_rows,
    make_all_due,
    publish_letters,
    record_text,
    record_texts,
    recorded_effects,
    register_handler,
    stream,
)


class ProcessKilled(BaseException):
    """The kill of the process in the middle of a batch."""


def publish_batch(count, text="hello"):
    """Publish one event in each of some streams. Returns the letters."""
    letters = [uuid7() for _ in range(count)]
    for one in letters:
        publish_letters(one, text)
    return letters


def transactions_of(letters):
    """Return the transactions that wrote the inbox rows of these letters, and those that wrote the effects."""
    streams, ids = [stream(one) for one in letters], [str(one) for one in letters]
    rows = fetch_rows(SUBSCRIBER, "SELECT DISTINCT xmin::text FROM shop_inboxrow WHERE stream = ANY(%s)", [streams])
    sql = "SELECT DISTINCT xmin::text FROM shop_auditentry WHERE object_id = ANY(%s)"
    return rows, fetch_rows(SUBSCRIBER, sql, [ids])


def envelopes_of(letters):
    """Return the envelopes that a first delivery of these letters sends."""
    sent = []

    def capture(publisher, subscriber, envelopes):
        sent.extend(envelopes)
        return True

    relay.deliver_due(PUBLISHER, capture)
    streams = [stream(one) for one in letters]
    return [envelope for envelope in sent if envelope.stream in streams]


def test_a_batch_and_its_effects_are_one_transaction(letter):
    register_handler(record_text, many=record_texts)
    letters = publish_batch(5)
    relay.deliver_due(PUBLISHER)
    rows, effects = transactions_of(letters)
    assert rows == effects
    assert len(rows) == 1
    for one in letters:
        [row] = inbox_rows(one)
        assert (row.handled_at is not None, row.attempt, row.starts, row.lease_until, row.error) == (
            True,
            1,
            1,
            None,
            "",
        )
        assert deliveries(one)[0].acknowledged_at is not None
        assert recorded_effects(one) == ["hello"]


def test_a_handler_without_a_set_version_waits_for_the_engine(letter):
    register_handler(record_text, many=record_texts)
    register_handler(fail_on_poison)
    deliver(letter, "hello")
    assert [(row.handler, row.handled_at is None) for row in inbox_rows(letter)] == [
        ("orders.fail_on_poison", True),
        ("orders.record_text", False),
    ]
    assert recorded_effects(letter) == ["hello"]
    run_until_idle()
    assert recorded_effects(letter) == ["hello", "checked hello"]


def test_the_engine_is_woken_only_if_an_event_waits_for_it(letter):
    register_handler(record_text, many=record_texts)
    woken = []
    inbox.wake_callbacks.append(woken.append)
    try:
        deliver(letter, "hello")
        assert woken == []
        register_handler(fail_on_poison)
        publish_letters(letter, "again", first=2)
        relay.deliver_due(PUBLISHER)
        assert woken == [SUBSCRIBER]
    finally:
        inbox.wake_callbacks.remove(woken.append)


def test_of_a_batch_with_poison_only_the_poison_is_parked(letter):
    def check_all(received):
        for event, _ in received:
            fail_on_poison(event)

    register_handler(fail_on_poison, many=check_all)
    publish_letters(letter, "poison")
    others = publish_batch(3)
    relay.deliver_due(PUBLISHER)
    assert [recorded_effects(one) for one in (letter, *others)] == [[]] * 4
    assert [row.failures for row in inbox_rows(letter)] == [0]
    for _ in range(handling.MAX_FAILURES):
        for one in (letter, *others):
            make_all_due(one)
        run_until_idle()
    [row] = inbox_rows(letter)
    assert (row.parked_at is not None, row.failures, row.error) == (True, 5, "ValueError('cannot read this')")
    assert [recorded_effects(one) for one in others] == [["checked hello"]] * 3


def test_a_payload_that_cannot_be_decoded_is_left_to_handling_one_by_one(letter):
    register_handler(record_text, many=record_texts)
    publish_letters(letter, "hello")
    others = publish_batch(2)
    change = "UPDATE shop_outboxevent SET payload = '{\"text\": []}' WHERE stream = %s"
    execute(PUBLISHER, change, [stream(letter)])
    relay.deliver_due(PUBLISHER)
    run_until_idle()
    assert inbox_rows(letter)[0].failures == 1
    assert [recorded_effects(one) for one in others] == [["hello"]] * 2


@pytest.mark.parametrize("error", [OperationalError("deadlock detected"), ValueError("a bug")])
def test_a_batch_that_fails_has_no_effect_and_is_handled_one_by_one(letter, error):
    def fail_after_the_effect(received):
        record_texts(received)
        raise error

    register_handler(record_text, many=fail_after_the_effect)
    letters = publish_batch(3)
    with capture_logs() as logs:
        relay.deliver_due(PUBLISHER)
    assert [line["event"] for line in logs if line["event"].startswith("batch_")] == [
        "batch_postponed" if isinstance(error, OperationalError) else "batch_failed"
    ]
    assert [recorded_effects(one) for one in letters] == [[]] * 3
    assert [(row.handled_at, row.starts, row.attempt) for one in letters for row in inbox_rows(one)] == [
        (None, 0, 0)
    ] * 3
    run_until_idle()
    assert [recorded_effects(one) for one in letters] == [["hello"]] * 3


def test_a_batch_whose_handler_has_caught_an_error_of_a_use_case_is_handled_one_by_one(letter):
    def swallow(received):
        try:
            with transaction(SUBSCRIBER):
                record_texts(received)
                raise ValueError
        except ValueError:
            pass

    register_handler(record_text, many=swallow)
    deliver(letter, "hello")
    assert [row.handled_at for row in inbox_rows(letter)] == [None]
    run_until_idle()
    assert recorded_effects(letter) == ["hello"]


def hold_up(letter):
    """Let the first event of a letter wait in the inbox."""
    publish_letters(letter, "one")
    deliver_unhandled(letter)
    execute(
        SUBSCRIBER, "UPDATE shop_inboxrow SET due_at = now() + interval '1 hour' WHERE stream = %s", [stream(letter)]
    )


def deliver_unhandled(letter):
    """Deliver the next event of a letter as a repeated delivery, which is stored only."""
    repeat = "UPDATE shop_delivery SET attempts = 1 WHERE stream = %s AND acknowledged_at IS NULL"
    assert execute(PUBLISHER, repeat, [stream(letter)])
    relay.deliver_due(PUBLISHER)


@pytest.mark.parametrize("parked", [False, True])
def test_an_ordered_event_behind_one_that_waits_or_is_parked_is_not_handled_on_arrival(letter, parked):
    register_handler(record_text, many=record_texts)
    hold_up(letter)
    if parked:
        park = "UPDATE shop_inboxrow SET parked_at = now(), error = 'poison' WHERE stream = %s"
        execute(SUBSCRIBER, park, [stream(letter)])
    other = uuid7()
    publish_letters(letter, "two", first=2)
    publish_letters(other, "other stream")
    relay.deliver_due(PUBLISHER)
    assert [row.handled_at for row in inbox_rows(letter)] == [None, None]
    assert (recorded_effects(letter), recorded_effects(other)) == ([], ["other stream"])
    execute(SUBSCRIBER, "UPDATE shop_inboxrow SET parked_at = NULL WHERE stream = %s", [stream(letter)])
    deliver_and_handle(letter)
    assert recorded_effects(letter) == ["one", "two"]


def test_an_unordered_event_is_handled_on_arrival_behind_one_that_waits(letter):
    register_handler(record_text, ordered=False, many=record_texts)
    hold_up(letter)
    publish_letters(letter, "two", first=2)
    relay.deliver_due(PUBLISHER)
    assert recorded_effects(letter) == ["two"]


@pytest.mark.parametrize("order", [*permutations((0, 1, 2))])
def test_of_several_events_of_a_stream_the_first_is_handled_on_arrival(letter, order):
    register_handler(record_text, many=record_texts)
    envelopes = []
    for number, text in enumerate(("one", "two", "three"), 1):
        publish_letters(letter, text, first=number)
        envelopes += envelopes_of([letter])
        execute(PUBLISHER, "UPDATE shop_delivery SET acknowledged_at = now() WHERE stream = %s", [stream(letter)])
    inbox.accept(SUBSCRIBER, [envelopes[number] for number in order])
    assert recorded_effects(letter) == ["one"]
    run_until_idle()
    assert recorded_effects(letter) == ["one", "two", "three"]


def test_a_copy_of_an_event_has_no_second_effect(letter):
    register_handler(record_text, many=record_texts)
    letters = publish_batch(3)
    envelopes = envelopes_of(letters)
    for copies in (envelopes[:2], envelopes, envelopes * 2):
        assert inbox.accept(SUBSCRIBER, copies) == {}
    run_until_idle()
    assert [recorded_effects(one) for one in letters] == [["hello"]] * 3
    assert len([row for one in letters for row in inbox_rows(one)]) == 3


def test_the_same_events_in_opposite_order_at_the_same_time_have_one_effect_and_do_not_deadlock(letter):
    register_handler(record_text, many=record_texts)
    envelopes = envelopes_of(letters := publish_batch(30))
    assert len(envelopes) == 30

    batches = (envelopes, envelopes[::-1], envelopes[::2] + envelopes[1::2], envelopes[15:] + envelopes[:15])
    with capture_logs() as logs:  # of all threads
        run_concurrently(*[lambda batch=batch: inbox.accept(SUBSCRIBER, batch) for batch in batches])
    assert [line for line in logs if line["event"].startswith("batch_")] == []
    assert [recorded_effects(one) for one in letters] == [["hello"]] * 30


def test_handlers_run_in_the_same_order_in_every_batch(letter):
    ran = []

    def first(event): ...

    def second(event): ...

    register_handler(second, LetterSent, many=lambda received: ran.append(("second", len(received))))
    register_handler(first, LetterLost, many=lambda received: ran.append(("first", len(received))))
    publish_letters(letter, "sent")
    with transaction(PUBLISHER):
        for _ in range(2):
            publish(LetterLost(letter_id=uuid7()), row=Revision())
    relay.deliver_due(PUBLISHER)
    assert ran == [("first", 2), ("second", 1)]


def test_an_event_with_too_many_hops_is_parked_and_the_others_are_handled(letter):
    register_handler(record_text, many=record_texts)
    with tracing.use_trace(tracing.Trace(correlation_id="c", causation_id="c", hops=MAX_HOPS + 1)):
        publish_letters(letter, "in a loop")
    others = publish_batch(2)
    relay.deliver_due(PUBLISHER)
    [row] = inbox_rows(letter)
    assert (row.parked_at is not None, row.error) == (True, "17 hops, more than the limit of 16")
    assert [recorded_effects(one) for one in (letter, *others)] == [[], ["hello"], ["hello"]]


def test_every_event_of_a_batch_keeps_its_own_trace(letter):
    def reply(event):
        raise AssertionError("the batch has failed")

    def reply_to_all(received):
        with transaction(PUBLISHER):
            for event, trace in received:
                publish(LetterLost(letter_id=event.letter_id), row=Revision(2), trace=trace)

    register_handler(reply, context=PUBLISHER, many=reply_to_all)
    letters = {f"correlation {number}": uuid7() for number in range(3)}
    for number, (correlation_id, one) in enumerate(letters.items()):
        trace = tracing.Trace(
            correlation_id=correlation_id, causation_id="request", traceparent=f"00-{number}", hops=number
        )
        with tracing.use_trace(trace):
            publish_letters(one, "hello")
    with capture_logs([merge_contextvars]) as logs:
        relay.deliver_due(PUBLISHER)
    sql = "SELECT causation_id, correlation_id, traceparent, hops FROM shop_outboxevent WHERE stream = %s AND sequence = 2"
    for number, (correlation_id, one) in enumerate(letters.items()):
        [row] = inbox_rows(one, PUBLISHER)
        assert fetch_rows(PUBLISHER, sql, [stream(one)]) == [
            (str(row.event_id), correlation_id, f"00-{number}", number + 1)
        ]
    handled = [line for line in logs if line["event"] == "event_handled"]
    assert {(line["stream"], line["correlation_id"], line["handler"], line["sequence"]) for line in handled} == {
        (stream(one), correlation_id, "payments.reply", 1) for correlation_id, one in letters.items()
    }


def test_a_repeated_delivery_is_stored_only_so_that_an_event_that_kills_its_worker_is_parked(letter):
    starts = []

    def kill(event):
        starts.append(event)
        raise ProcessKilled

    register_handler(kill, many=kill)
    publish_letters(letter, "deadly")
    with pytest.raises(ProcessKilled):
        relay.deliver_due(PUBLISHER)
    assert inbox_rows(letter) == []
    make_all_due(letter)
    relay.deliver_due(PUBLISHER)
    assert len(starts) == 1
    assert "is_repeated" not in inbox_rows(letter)[0].envelope
    for _ in range(handling.MAX_STARTS):
        make_all_due(letter)
        with pytest.raises(ProcessKilled):
            handling.handle_due(SUBSCRIBER)
    make_all_due(letter)
    run_until_idle()
    [row] = inbox_rows(letter)
    assert (row.parked_at is not None, len(starts)) == (True, 1 + handling.MAX_STARTS)


def test_a_lock_that_another_transaction_holds_does_not_hold_up_the_relay(letter):
    limits = []
    take_lock = "SELECT pg_advisory_xact_lock(hashtext(%s))"

    def record_with_lock(event):
        fetch_rows(SUBSCRIBER, take_lock, [str(letter)])
        record_text(event)

    def record_all_with_lock(received):
        limits.append(fetch_rows(SUBSCRIBER, "SELECT setting::int FROM pg_settings WHERE name = 'lock_timeout'"))
        for event, _ in received:
            record_with_lock(event)

    register_handler(record_with_lock, many=record_all_with_lock)
    publish_letters(letter, "hello")
    with transaction(SUBSCRIBER):
        fetch_rows(SUBSCRIBER, take_lock, [str(letter)])
        run_in_thread(lambda: relay.deliver_due(PUBLISHER))
    assert limits == [[(500,)]]  # milliseconds
    [row] = inbox_rows(letter)
    assert (row.handled_at, recorded_effects(letter)) == (None, [])
    assert deliveries(letter)[0].acknowledged_at is not None
    run_until_idle()
    assert recorded_effects(letter) == ["hello"]


def test_only_an_atomic_handler_can_handle_many_events():
    with pytest.raises(TypeError, match="only an atomic handler"):
        on(LetterSent, atomic=False, many=record_texts)


def test_an_event_that_is_handled_on_arrival_leaves_the_row_that_handling_leaves(letter):
    register_handler(record_text, many=record_texts)
    register_handler(fail_on_poison)
    publish_letters(letter, "hello")
    run_until_idle()
    assert len(inbox_rows(letter)) == 2
    rows = InboxRow.objects.using(SUBSCRIBER).filter(stream=stream(letter))
    columns = [
        field.column
        for field in InboxRow._meta.concrete_fields
        if field.column not in ("id", "handler", "received_at", "due_at", "handled_at")
    ]
    on_arrival, by_handling = rows.order_by("handler").values(*columns)
    assert on_arrival == by_handling
