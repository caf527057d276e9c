"""Celery tasks of the workers. A message may arrive twice, late or never: this affects when work is done, not whether."""

from collections.abc import Callable
from functools import partial
from typing import TypeVar, cast

import msgspec
import structlog

from shop.db.database import OUTAGE_ERRORS, close_all_connections
from shop.messaging import inbox, relay
from shop.messaging.celery import broker
from shop.messaging.celery.app import app
from shop.messaging.celery.signatures import has_valid_signature
from shop.messaging.celery.watchdog import Watchdog
from shop.messaging.engine import Engine
from shop.messaging.events import Envelope
from shop.security_events import CALL_FAIL
from shop.security_log import log_security_event

log = structlog.get_logger(__name__)
_envelopes_decoder = msgspec.json.Decoder(tuple[Envelope, ...])
_acknowledgement_decoder = msgspec.json.Decoder(broker.Acknowledgement)

TaskFunction = TypeVar("TaskFunction", bound=Callable[..., None])


class WorkerState:
    """The engine and the watchdog of this worker process."""

    engine: Engine
    watchdog: Watchdog


def task(name: str) -> Callable[[TaskFunction], TaskFunction]:
    """Register a function as a Celery task. The typed form of `app.task`."""
    return cast(Callable[[TaskFunction], TaskFunction], app.task(name=name))


@task("satsuma.relay")
def wake_relay(context: str) -> None:
    """Deliver from a context's outbox. Without this message the engine finds the deliveries by polling."""
    WorkerState.watchdog.record_message(context)
    WorkerState.engine.wake_relay(context)


@task("satsuma.handle")
def wake_handlers(context: str) -> None:
    """Handle a context's inbox rows. Without this message the engine finds them by polling."""
    WorkerState.watchdog.record_message(context)
    WorkerState.engine.wake_handlers(context)


@task("satsuma.timers")
def run_timers(context: str, names: list[str]) -> None:
    """Run timers that Celery beat found due. A timer claims its work in the database, so two beat processes do no harm."""
    WorkerState.watchdog.record_message(context)
    for name in names:
        WorkerState.engine.run_timer_now(name)


@task("satsuma.heartbeat")
def record_heartbeat(context: str) -> None:
    """Receive a heartbeat of a watchdog."""
    WorkerState.watchdog.record_message(context)


@task("satsuma.accept")
def accept_envelopes(publisher: str, subscriber: str, envelopes: str, signature: str) -> None:
    """Store envelopes and acknowledge them. Only the acknowledgement ends their deliveries."""
    if _is_authentic("accept", publisher, subscriber, envelopes, signature):
        store = partial(_store_envelopes, publisher, subscriber, _envelopes_decoder.decode(envelopes))
        _run_database_work("accept", subscriber, store)


def _store_envelopes(publisher: str, subscriber: str, received: tuple[Envelope, ...]) -> None:
    refused = inbox.accept(subscriber, received)
    stored = [str(envelope.id) for envelope in received if str(envelope.id) not in refused]
    log.info("envelopes_stored", publisher=publisher, subscriber=subscriber, stored=len(stored), refused=len(refused))
    broker.send_acknowledgement(subscriber, publisher, broker.Acknowledgement(stored, refused))


@task("satsuma.acknowledge")
def acknowledge_envelopes(subscriber: str, publisher: str, acknowledgement: str, signature: str) -> None:
    """Record that a subscriber has stored its envelopes, and wake the relay if more events of the streams wait."""
    if _is_authentic("acknowledge", subscriber, publisher, acknowledgement, signature):
        decoded = _acknowledgement_decoder.decode(acknowledgement)
        _run_database_work("acknowledge", publisher, partial(_acknowledge, publisher, subscriber, decoded))


def _acknowledge(publisher: str, subscriber: str, acknowledgement: broker.Acknowledgement) -> None:
    if relay.acknowledge(publisher, subscriber, acknowledgement.stored, acknowledgement.refused):
        WorkerState.engine.wake_relay(publisher)


def _is_authentic(task: str, sender: str, receiver: str, body: str, signature: str) -> bool:
    """Check the signature of a message. An invalid one means different keys or an intruder at the broker."""
    if not has_valid_signature(signature, sender, task, receiver, body):
        log.error("message_refused", task=task, sender=sender, receiver=receiver)
        log_security_event(CALL_FAIL, reason="wrong_signature", task=task, sender=sender, receiver=receiver)
        return False
    WorkerState.watchdog.record_message(receiver)
    return True


def _run_database_work(task: str, context: str, work: Callable[[], None]) -> None:
    """Run work that needs the database. After an outage nothing is acknowledged, so the publisher delivers again."""
    with WorkerState.watchdog.free_threads:
        try:
            work()
        except OUTAGE_ERRORS as error:
            log.warning("engine_outage", subject=f"{task} {context}", error=str(error))
        finally:
            close_all_connections()  # back to their pools: an idle thread needs none
