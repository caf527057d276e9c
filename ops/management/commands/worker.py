"""manage.py worker: run an engine that a broker wakes, for web processes with ENGINE=celery. See ops/launch/worker.py."""

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from ops.launch.worker import CONSUMER_STOPPED_STATUS, USAGE_ERROR_STATUS
from shop.calls.call_metrics import CallRecorder
from shop.db.database import hosted_contexts
from shop.messaging.engine import Engine
from shop.messaging.events import Envelope

if TYPE_CHECKING:
    from celery.worker import WorkController

# How long the consumer may take to stop after SIGTERM. With the 5 seconds of the engine that is what a web process may take.
STOP_TIMEOUT_SECONDS = 10.0


class Command(BaseCommand):
    help = "Run a worker for the hosted contexts, or for the named ones of them, until SIGTERM."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("contexts", nargs="*", metavar="context", help="a hosted context (default: all of them)")

    def handle(self, *, contexts: Sequence[str], **_: object) -> None:
        if settings.ENGINE != "celery":
            raise CommandError(
                f"ENGINE is {settings.ENGINE}; a worker is for ENGINE=celery", returncode=USAGE_ERROR_STATUS
            )
        if foreign := set(contexts) - set(hosted_contexts()):
            raise CommandError(
                f"{', '.join(sorted(foreign))}: not hosted here; CONTEXTS is {', '.join(hosted_contexts())}",
                returncode=USAGE_ERROR_STATUS,
            )
        raise SystemExit(_run_worker(tuple(contexts) or hosted_contexts()))


def _run_worker(contexts: tuple[str, ...]) -> int:
    """Run engine, watchdog and consumer until SIGTERM, or until the consumer has stopped. Returns the exit status."""
    from shop.messaging.celery import tasks
    from shop.messaging.celery.wake_up import WakeUpSender
    from shop.messaging.celery.watchdog import Watchdog

    def exit_process(status: int) -> None:
        """Exit without waiting for the consumer, which may hang at its broker. Keeps the lock, so that it runs once."""
        exit_lock.acquire()
        engine.stop(timeout=5)
        os._exit(status)

    exit_lock = threading.Lock()
    engine = tasks.WorkerState.engine = _build_engine(contexts)
    watchdog = tasks.WorkerState.watchdog = Watchdog(
        contexts, settings.WATCHDOG_SECONDS, lambda _: exit_process(CONSUMER_STOPPED_STATUS)
    )
    wake_up_sender, recorder = WakeUpSender(local_contexts=contexts), CallRecorder()
    for part in (recorder, engine, wake_up_sender, watchdog):
        part.start()
    consumer = _build_consumer(contexts)
    _consume(consumer, at_timeout=lambda: exit_process(0))
    watchdog.stop()
    exit_lock.acquire()
    for part in (engine, recorder, wake_up_sender):
        part.stop()
    return consumer.exitcode or 0


def _consume(consumer: "WorkController", at_timeout: Callable[[], None]) -> None:
    """Consume until SIGTERM or SIGINT. Calls `at_timeout` if the consumer does not stop in STOP_TIMEOUT_SECONDS."""
    from celery import signals

    shutdown_timer = threading.Timer(STOP_TIMEOUT_SECONDS, at_timeout)
    shutdown_timer.daemon = True
    signals.worker_shutting_down.connect(
        lambda **_: shutdown_timer.start() if shutdown_timer.ident is None else None, weak=False
    )
    consumer.start()
    shutdown_timer.cancel()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})  # a second signal changes nothing


def _build_engine(contexts: tuple[str, ...]) -> Engine:
    """Build the engine of a worker. It stores events for its own contexts directly, without the broker."""
    from shop.messaging.celery import broker
    from shop.messaging.celery.wake_up import MIN_BATCH_INTERVAL_SECONDS

    def send(publisher: str, subscriber: str, envelopes: Iterable[Envelope]) -> bool:
        return subscriber not in contexts and broker.send_envelopes(publisher, subscriber, envelopes)

    poll = settings.POLL_SECONDS
    return Engine(contexts, poll_interval=poll, timer_delay=poll, send=send, relay_interval=MIN_BATCH_INTERVAL_SECONDS)


def _build_consumer(contexts: tuple[str, ...]) -> "WorkController":
    """Build the Celery worker that consumes the queues of the contexts."""
    from shop.messaging.celery.app import WORKER_THREADS, app, get_queue_name

    return app.Worker(
        queues=[get_queue_name(context) for context in contexts], pool="threads", concurrency=WORKER_THREADS,
        hostname=f"{'.'.join(contexts)}-{os.getpid()}@{socket.gethostname()}", without_gossip=True, without_mingle=True,
        quiet=True, loglevel=settings.LOGGING["root"]["level"], optimization="fair",
    )  # fmt: skip
