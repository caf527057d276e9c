"""Publishing: a fact is written where it becomes true, or not at all."""

import pytest
from django.db import IntegrityError

from shop import outbox, tracing
from shop.database import rows, transaction
from shop.errors import InTransaction
from shop.models import OutboxEvent
from shop.outbox import publish
from tests.shop.post import SENDER, LetterLost, LetterSent, deliveries, listen, note, send, stream


def announced(letter):
    return list(OutboxEvent.objects.using(SENDER).filter(stream=stream(letter)).order_by("sequence"))


def test_publishing_outside_a_transaction_is_refused(letter):
    with pytest.raises(InTransaction, match="inside a transaction on payments, not on none"):
        publish(LetterSent(letter_id=letter), sequence=1)
    assert announced(letter) == []


def test_publishing_in_another_contexts_transaction_is_refused(letter):
    with pytest.raises(InTransaction, match="inside a transaction on payments, not on"), transaction("orders"):
        publish(LetterSent(letter_id=letter), sequence=1)


def test_a_fact_is_gone_with_its_transaction(letter):
    listen(print)
    with pytest.raises(ZeroDivisionError), transaction(SENDER):
        publish(LetterSent(letter_id=letter), sequence=1)
        1 / 0  # noqa: B018
    assert announced(letter) == deliveries(letter) == []


def test_a_fact_and_what_it_is_about_are_one_transaction(letter):
    listen(print)
    with transaction(SENDER):
        note(letter, context=SENDER)
        publish(LetterSent(letter_id=letter), sequence=1)
    written_by = [
        rows(SENDER, f"SELECT xmin::text FROM {table} WHERE {column} = %s", [value])
        for table, column, value in (
            ("shop_auditentry", "object_id", str(letter)),
            ("shop_outboxevent", "stream", stream(letter)),
            ("shop_delivery", "stream", stream(letter)),
        )
    ]
    assert written_by[0] == written_by[1] == written_by[2] != []


def test_a_sequence_is_used_once_in_a_stream(letter):
    send(letter, "one")
    with pytest.raises(IntegrityError, match="one_event_per_sequence"):
        send(letter, "another one")
    assert [fact.payload["text"] for fact in announced(letter)] == ["one"]


def test_each_subscribing_context_gets_a_delivery(letter):
    listen(lambda event: None, context="orders")
    listen(lambda event: None, context="users")
    send(letter, "hello")
    assert [(one.subscriber, one.sequence, one.attempts) for one in deliveries(letter)] == [("orders", 1, 0), ("users", 1, 0)]


def test_a_fact_that_nobody_listens_to_is_kept_without_a_delivery(letter):
    with transaction(SENDER):
        publish(LetterLost(letter_id=letter), sequence=1)
    assert [fact.name for fact in announced(letter)] == ["payments.test_letter_lost"]
    assert deliveries(letter) == []


def test_a_fact_carries_its_name_version_stream_and_story(letter):
    trace = tracing.Trace(correlation_id="story", causation_id="request", traceparent="00-aa", hops=3)
    with tracing.following(trace):
        send(letter, "hello")
    [fact] = announced(letter)
    assert (fact.name, fact.version, fact.sequence, fact.hops) == ("payments.test_letter_sent", 1, 1, 3)
    assert (fact.correlation_id, fact.causation_id, fact.traceparent) == ("story", "request", "00-aa")
    assert fact.payload == {"letter_id": str(letter), "text": "hello"}
    assert fact.id.version == 7


@pytest.fixture
def rings():
    heard = []
    outbox.doorbell.append(heard.append)
    yield heard
    outbox.doorbell.pop()


def test_the_doorbell_rings_after_the_commit(letter, rings):
    listen(print)
    with transaction(SENDER):
        publish(LetterSent(letter_id=letter), sequence=1)
        assert rings == []
    assert rings == [SENDER]


def test_the_doorbell_is_silent_after_a_rollback_and_for_what_nobody_hears(letter, rings):
    send(letter, "no subscriber")
    listen(print)
    with pytest.raises(IntegrityError):
        send(letter, "same sequence")
    assert rings == []
