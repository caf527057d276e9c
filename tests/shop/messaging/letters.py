"""Sample events about letters and sample handlers, registered only while a test uses them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from django.conf import settings

from shop.audit import audit, list_object_history
from shop.db.database import execute, fetch_rows, hosted_contexts, transaction
from shop.messaging import events, relay
from shop.messaging.engine import run_until_idle
from shop.messaging.events import Event, Received, on
from shop.messaging.outbox import Revision, publish
from shop.models import Delivery, InboxRow

PUBLISHER, SUBSCRIBER = "payments", "orders"


class Letter(Event, stream="payments.test_letter:{letter_id}"):
    """Base class of the events about a letter."""

    letter_id: UUID


class LetterSent(Letter, name="payments.test_letter_sent", version=1):
    """A letter was sent."""

    text: str = ""


class LetterLost(Letter, name="payments.test_letter_lost", version=1):
    """A letter was lost. No context subscribes to it."""


EVENTS = (LetterSent, LetterLost)
for event in EVENTS:
    del events._declared[event.name]


@contextmanager
def isolated_registries() -> Iterator[None]:
    """Remove afterwards the events, handlers and timers that are declared within."""
    tables = (events._declared, events._handlers, events._timers)
    before = [dict(table) for table in tables]
    try:
        yield
    finally:
        for table, content in zip(tables, before, strict=True):
            table.clear()
            table.update(content)


def register_handler(
    run: Callable[[Any], None], *events: type[Event], context: str = SUBSCRIBER, **options: Any
) -> None:
    """Register `run` as a handler of `context`, and the context as a subscriber."""
    run.__module__ = f"contexts.{context}.handlers"
    for event in events or (LetterSent,):
        on(event, **options)(run)
        settings.SUBSCRIPTIONS[event.name] = sorted({*settings.SUBSCRIPTIONS[event.name], context})


def publish_letters(letter: UUID, *texts: str, first: int = 1) -> None:
    """Publish one LetterSent per text in one transaction, with sequences from `first`."""
    with transaction(PUBLISHER):
        for sequence, text in enumerate(texts, first):
            publish(LetterSent(letter_id=letter, text=text), row=Revision(sequence))


def stream(letter: UUID) -> str:
    return f"payments.test_letter:{letter}"


def deliveries(letter: UUID) -> list[Delivery]:
    return list(Delivery.objects.using(PUBLISHER).filter(stream=stream(letter)).order_by("sequence", "subscriber"))


def inbox_rows(letter: UUID, context: str = SUBSCRIBER) -> list[InboxRow]:
    return list(InboxRow.objects.using(context).filter(stream=stream(letter)).order_by("sequence", "handler"))


def make_all_due(letter: UUID) -> None:
    """Make the deliveries and inbox rows of a letter due, and end their leases."""
    execute(
        PUBLISHER, "UPDATE shop_delivery SET due_at = now() WHERE stream = %s AND parked_at IS NULL", [stream(letter)]
    )
    for context in hosted_contexts():
        sql = "UPDATE shop_inboxrow SET due_at = now(), lease_until = NULL WHERE stream = %s AND handled_at IS NULL"
        execute(context, sql, [stream(letter)])


def deliver(letter: UUID, *texts: str) -> None:
    """Publish and deliver, without handling."""
    publish_letters(letter, *texts)
    for _ in texts:
        relay.deliver_due(PUBLISHER)


def deliver_and_handle(letter: UUID, times: int = 1) -> None:
    """Make everything due, deliver and handle, and repeat this."""
    for _ in range(times):
        make_all_due(letter)
        run_until_idle()


def with_lock_timeout(alias: str, work: Callable[[str], Any]) -> Any:
    """Run the work with a short lock timeout."""
    fetch_rows(alias, "SET lock_timeout = '300ms'")
    try:
        return work(alias)
    finally:
        fetch_rows(alias, "RESET lock_timeout")


def record_effect(letter: UUID, text: str = "read", context: str = SUBSCRIBER) -> None:
    """Write the effect that tests count: one audit entry per call, with no unique constraint."""
    audit(context, actor="test", action=text, object_type="letter", object_id=letter)


def recorded_effects(letter: UUID, context: str = SUBSCRIBER) -> list[str]:
    """List the effects on a letter in the order in which they happened."""
    return [entry.action for entry in reversed(list_object_history(context, "letter", letter))]


def record_text(event: LetterSent) -> None:
    """Handle an event by recording its text."""
    record_effect(event.letter_id, event.text)


def record_texts(received: Sequence[Received[LetterSent]]) -> None:
    """Handle several events as `record_text` handles each of them."""
    for event, _ in received:
        record_text(event)


def fail_on_poison(event: LetterSent) -> None:
    """Fail for the text "poison", and record any other text."""
    if event.text == "poison":
        raise ValueError("cannot read this")
    record_effect(event.letter_id, f"checked {event.text}")


def delete_letters() -> None:
    """Delete the events of letters, because their handlers are no longer registered."""
    for context in hosted_contexts():
        for table in ("shop_delivery", "shop_outboxevent", "shop_inboxrow"):
            execute(context, f"DELETE FROM {table} WHERE stream LIKE 'payments.test_letter:%%'")
