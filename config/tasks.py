"""What workers do with messages. Each may come twice, late, or never: that changes nothing but when things happen."""

import msgspec
import structlog

from config.celery import app
from config.messages import broker
from config.watchdog import Watchdog
from shop import inbox, relay
from shop.database import OUTAGES, drop_broken_connections
from shop.engine import Engine
from shop.events import Envelope

log = structlog.get_logger(__name__)
_envelopes = msgspec.json.Decoder(tuple[Envelope, ...])


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
def accept(publisher: str, subscriber: str, envelopes: str) -> None:
    """Store what a publisher sent, and then say so: only that ends its delivery."""
    Here.watchdog.heard(subscriber)
    come = _envelopes.decode(envelopes)
    try:
        refused = inbox.accept(subscriber, come)
    except OUTAGES as error:
        return _outage("accept", subscriber, error)
    stored = [str(envelope.id) for envelope in come if str(envelope.id) not in refused]
    log.info("envelopes_stored", publisher=publisher, subscriber=subscriber, stored=len(stored), refused=len(refused))
    broker.send(publisher, "acknowledge", publisher, subscriber, stored, refused)


@app.task(name="satsuma.acknowledge")
def acknowledge(publisher: str, subscriber: str, events: list[str], refused: dict[str, str]) -> None:
    """A subscriber has stored what it was sent: the next of these streams may follow."""
    Here.watchdog.heard(publisher)
    try:
        relay.acknowledge(publisher, subscriber, events, refused)
    except OUTAGES as error:
        return _outage("acknowledge", publisher, error)
    Here.engine.ring_relay(publisher)


def _outage(task: str, context: str, error: Exception) -> None:
    """Nobody is told that it was done, so the publisher does it again."""
    log.warning("engine_outage", subject=f"{task} {context}", error=str(error))
    drop_broken_connections()
