"""A little post office: facts and handlers of the tests' own, known to the kernel only while a test uses them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from django.conf import settings

from shop import events, relay
from shop.audit import audit, trail
from shop.database import changed, hosted, rows, transaction
from shop.engine import run_until_idle
from shop.events import Event, on
from shop.models import Delivery, InboxRow
from shop.outbox import publish

SENDER, READER = "payments", "orders"


class Letter(Event, stream="payments.test_letter:{letter_id}"):
    """Something happened to a letter."""

    letter_id: UUID


class LetterSent(Letter, name="payments.test_letter_sent", version=1):
    """A letter is on its way."""

    text: str = ""


class LetterLost(Letter, name="payments.test_letter_lost", version=1):
    """Nobody listens to this."""


FACTS = (LetterSent, LetterLost)
for fact in FACTS:
    del events._declared[fact.name]


@contextmanager
def registries() -> Iterator[None]:
    """What is declared within is forgotten afterwards."""
    tables = (events._declared, events._handlers, events._timers)
    before = [dict(table) for table in tables]
    try:
        yield
    finally:
        for table, content in zip(tables, before, strict=True):
            table.clear()
            table.update(content)


def listen(run: Callable[[Any], None], *facts: type[Event], context: str = READER, **how: bool) -> None:
    """Register `run` as a handler of `context`, and the context as a subscriber."""
    run.__module__ = f"contexts.{context}.handlers"
    for one in facts or (LetterSent,):
        on(one, **how)(run)
        settings.SUBSCRIPTIONS[one.name] = sorted({*settings.SUBSCRIPTIONS[one.name], context})


def send(letter: UUID, *texts: str, first: int = 1) -> None:
    """Announce one LetterSent per text, in one transaction, numbered from `first`."""
    with transaction(SENDER):
        for sequence, text in enumerate(texts, first):
            publish(LetterSent(letter_id=letter, text=text), sequence=sequence)


def stream(letter: UUID) -> str:
    return f"payments.test_letter:{letter}"


def deliveries(letter: UUID) -> list[Delivery]:
    return list(Delivery.objects.using(SENDER).filter(stream=stream(letter)).order_by("sequence", "subscriber"))


def inbox_rows(letter: UUID, context: str = READER) -> list[InboxRow]:
    return list(InboxRow.objects.using(context).filter(stream=stream(letter)).order_by("sequence", "handler"))


def hurry(letter: UUID) -> None:
    """Time goes by: what was put off is due, and a dead worker's lease is over."""
    changed(SENDER, "UPDATE shop_delivery SET due_at = now() WHERE stream = %s", [stream(letter)])
    for context in hosted():
        sql = "UPDATE shop_inboxrow SET due_at = now(), lease_until = NULL WHERE stream = %s AND handled_at IS NULL"
        changed(context, sql, [stream(letter)])


def deliver(letter: UUID, *texts: str) -> None:
    """Send, and hand over; nothing is handled yet."""
    send(letter, *texts)
    for _ in texts:
        relay.deliver_due(SENDER)


def handle(letter: UUID, times: int = 1) -> None:
    """Hand over and handle, again and again, with time going by."""
    for _ in range(times):
        hurry(letter)
        run_until_idle()


def impatient(alias: str, work: Callable[[str], Any]) -> Any:
    """Do the work, but wait for no lock."""
    rows(alias, "SET lock_timeout = '300ms'")
    try:
        return work(alias)
    finally:
        rows(alias, "RESET lock_timeout")


def note(letter: UUID, text: str = "read", context: str = READER) -> None:
    """The effect that tests count: one row per call, with no constraint of its own."""
    audit(context, actor="test", action=text, object_type="letter", object_id=letter)


def notes(letter: UUID, context: str = READER) -> list[str]:
    """The effects on a letter, in the order in which they were had."""
    return [entry.action for entry in reversed(trail(context, "letter", letter))]


def read(event: LetterSent) -> None:
    """A handler that remembers what it read."""
    note(event.letter_id, event.text)


def choke(event: LetterSent) -> None:
    """A handler that fails on poison and remembers the rest."""
    if event.text == "poison":
        raise ValueError("cannot read this")
    note(event.letter_id, f"choke {event.text}")


def forget() -> None:
    """Remove the tests' facts, so that nobody stumbles over events without handlers."""
    for context in hosted():
        for table in ("shop_delivery", "shop_outboxevent", "shop_inboxrow"):
            changed(context, f"DELETE FROM {table} WHERE stream LIKE 'payments.test_letter:%%'")
