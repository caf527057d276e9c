"""What workers do with messages. Each may come twice, late, or never: that changes nothing but when things happen."""

from collections.abc import Callable
from functools import partial

import msgspec
import structlog

from config import messages
from config.celery import app
from config.seals import is_sealed
from config.watchdog import Watchdog
from shop import inbox, relay
from shop.database import OUTAGES, drop_broken_connections
from shop.engine import Engine
from shop.events import Envelope

log = structlog.get_logger(__name__)
_envelopes = msgspec.json.Decoder(tuple[Envelope, ...])
_answer = msgspec.json.Decoder(messages.Answer)


class Here:
    """This worker process: whom messages wake."""

    engine: Engine
    watchdog: Watchdog


@app.task(name="satsuma.relay")
def ring_relay(context: str) -> None:
    """Something has come into a context's outbox. The engine claims it in the database, as it does unasked."""
    Here.watchdog.heard(context)
    Here.engine.ring_relay(context)


@app.task(name="satsuma.handle")
def ring_handlers(context: str) -> None:
    """Something has come into a context's inbox."""
    Here.watchdog.heard(context)
    Here.engine.ring_handlers(context)


@app.task(name="satsuma.timers")
def ring_timers(context: str, names: list[str]) -> None:
    """Beat says that it is time. A timer claims its work in the database, so it may be told by two."""
    Here.watchdog.heard(context)
    for name in names:
        Here.engine.ring_timer(name)


@app.task(name="satsuma.heartbeat")
def heard(context: str) -> None:
    """The watchdog's own."""
    Here.watchdog.heard(context)


@app.task(name="satsuma.accept")
def accept(publisher: str, subscriber: str, envelopes: str, seal: str) -> None:
    """Store what a publisher sent, and then say so: only that ends its delivery."""
    if _is_ours("accept", publisher, subscriber, envelopes, seal):
        _at_a_database("accept", subscriber, partial(_store, publisher, subscriber, _envelopes.decode(envelopes)))


def _store(publisher: str, subscriber: str, come: tuple[Envelope, ...]) -> None:
    refused = inbox.accept(subscriber, come)
    stored = [str(envelope.id) for envelope in come if str(envelope.id) not in refused]
    log.info("envelopes_stored", publisher=publisher, subscriber=subscriber, stored=len(stored), refused=len(refused))
    messages.confirm(subscriber, publisher, messages.Answer(stored, refused))


@app.task(name="satsuma.acknowledge")
def acknowledge(subscriber: str, publisher: str, answer: str, seal: str) -> None:
    """A subscriber has stored what it was sent: the next of these streams may follow."""
    if _is_ours("acknowledge", subscriber, publisher, answer, seal):
        _at_a_database("acknowledge", publisher, partial(_end, publisher, subscriber, _answer.decode(answer)))


def _end(publisher: str, subscriber: str, told: messages.Answer) -> None:
    if relay.acknowledge(publisher, subscriber, told.stored, told.refused):
        Here.engine.ring_relay(publisher)


def _is_ours(task: str, sender: str, receiver: str, said: str, seal: str) -> bool:
    """Else two processes' keys differ, or somebody else writes to the broker: whoever it is has to be looked at."""
    if not is_sealed(seal, sender, task, receiver, said):
        log.error("message_refused", task=task, sender=sender, receiver=receiver)
        return False
    Here.watchdog.heard(receiver)
    return True


def _at_a_database(task: str, context: str, work: Callable[[], None]) -> None:
    """After an outage nobody is told that it was done, so the publisher does it again."""
    with Here.watchdog.threads:
        try:
            work()
        except OUTAGES as error:
            log.warning("engine_outage", subject=f"{task} {context}", error=str(error))
            drop_broken_connections()
