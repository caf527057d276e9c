"""Publishing: an event is stored in the transaction of the change that it reports, or not at all."""

import pytest
from django.db import IntegrityError

from shop.calls import tracing
from shop.db.database import fetch_rows, transaction
from shop.errors import InTransaction
from shop.messaging import outbox
from shop.messaging.outbox import Revision, publish
from shop.models import OutboxEvent
from tests.shop.messaging.letters import (
    PUBLISHER,
    LetterLost,
    LetterSent,
    deliveries,
    publish_letters,
    record_effect,
    register_handler,
    stream,
)


def outbox_events(letter):
    return list(OutboxEvent.objects.using(PUBLISHER).filter(stream=stream(letter)).order_by("sequence"))


def test_publishing_outside_a_transaction_is_refused(letter):
    with pytest.raises(InTransaction, match="inside a transaction on payments; open transactions: none"):
        publish(LetterSent(letter_id=letter), row=Revision())
    assert outbox_events(letter) == []


def test_publishing_in_another_contexts_transaction_is_refused(letter):
    with (
        pytest.raises(InTransaction, match="inside a transaction on payments; open transactions: orders"),
        transaction("orders"),
    ):
        publish(LetterSent(letter_id=letter), row=Revision())


def test_an_event_is_rolled_back_with_its_transaction(letter):
    register_handler(print)
    with pytest.raises(ZeroDivisionError), transaction(PUBLISHER):
        publish(LetterSent(letter_id=letter), row=Revision())
        1 / 0  # noqa: B018
    assert outbox_events(letter) == deliveries(letter) == []


def test_an_event_and_its_state_change_are_one_transaction(letter):
    register_handler(print)
    with transaction(PUBLISHER):
        record_effect(letter, context=PUBLISHER)
        publish(LetterSent(letter_id=letter), row=Revision())
    written_by = [
        fetch_rows(PUBLISHER, f"SELECT xmin::text FROM {table} WHERE {column} = %s", [value])
        for table, column, value in (
            ("shop_auditentry", "object_id", str(letter)),
            ("shop_outboxevent", "stream", stream(letter)),
            ("shop_delivery", "stream", stream(letter)),
        )
    ]
    assert written_by[0] == written_by[1] == written_by[2] != []


def test_a_sequence_is_used_once_in_a_stream(letter):
    publish_letters(letter, "one")
    with pytest.raises(IntegrityError, match="one_event_per_sequence"):
        publish_letters(letter, "another one")
    assert [event.payload["text"] for event in outbox_events(letter)] == ["one"]


def test_each_subscribing_context_gets_a_delivery(letter):
    register_handler(lambda event: None, context="orders")
    register_handler(lambda event: None, context="users")
    publish_letters(letter, "hello")
    assert [(one.subscriber, one.sequence, one.attempts) for one in deliveries(letter)] == [
        ("orders", 1, 0),
        ("users", 1, 0),
    ]


def test_an_event_without_subscriber_is_stored_without_a_delivery(letter):
    with transaction(PUBLISHER):
        publish(LetterLost(letter_id=letter), row=Revision())
    assert [event.name for event in outbox_events(letter)] == ["payments.test_letter_lost"]
    assert deliveries(letter) == []


def test_an_event_carries_its_name_version_stream_and_trace(letter):
    trace = tracing.Trace(correlation_id="correlation", causation_id="request", traceparent="00-aa", hops=3)
    with tracing.use_trace(trace):
        publish_letters(letter, "hello")
    [event] = outbox_events(letter)
    assert (event.name, event.version, event.sequence, event.hops) == ("payments.test_letter_sent", 1, 1, 3)
    assert (event.correlation_id, event.causation_id, event.traceparent) == ("correlation", "request", "00-aa")
    assert event.payload == {"letter_id": str(letter), "text": "hello"}
    assert event.id.version == 7


@pytest.fixture
def wakeups():
    woken = []
    outbox.wake_callbacks.append(woken.append)
    yield woken
    outbox.wake_callbacks.pop()


def test_the_relay_is_woken_after_the_commit(letter, wakeups):
    register_handler(print)
    with transaction(PUBLISHER):
        publish(LetterSent(letter_id=letter), row=Revision())
        assert wakeups == []
    assert wakeups == [PUBLISHER]


def test_the_relay_is_not_woken_after_a_rollback_or_without_subscribers(letter, wakeups):
    publish_letters(letter, "no subscriber")
    register_handler(print)
    with pytest.raises(IntegrityError):
        publish_letters(letter, "same sequence")
    assert wakeups == []
