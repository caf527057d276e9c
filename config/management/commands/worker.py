"""manage.py worker: an engine that a broker wakes, for web processes with ENGINE=celery. See config/worker.py."""

import os
import signal
import socket
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from shop.database import hosted
from shop.engine import Engine
from shop.traffic import Recorder

MISTAKEN = 2  # exit status: what was asked for cannot be had, however often
STOPPED_CONSUMING = 75  # exit status (EX_TEMPFAIL): start it again


class Command(BaseCommand):
    help = "Work for the hosted contexts, or for those of them that are named, until SIGTERM."

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("contexts", nargs="*", metavar="context")

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.ENGINE != "celery":
            raise CommandError(f"ENGINE is {settings.ENGINE}; a worker is for ENGINE=celery", returncode=MISTAKEN)
        if strangers := set(options["contexts"]) - set(hosted()):
            said = f"{', '.join(sorted(strangers))}: not hosted here; CONTEXTS is {', '.join(hosted())}"
            raise CommandError(said, returncode=MISTAKEN)
        raise SystemExit(_work(tuple(options["contexts"]) or hosted()))


def _work(contexts: tuple[str, ...]) -> int:
    """Until it is asked to stop. The exit status."""
    from config import celery, messages, tasks
    from config.watchdog import Watchdog

    def send(publisher: str, subscriber: str, envelopes: list) -> bool:
        return subscriber not in contexts and messages.carry(publisher, subscriber, envelopes)  # our own we hand over

    def start_again(_: str) -> None:
        engine.stop(patience=5)
        os._exit(STOPPED_CONSUMING)

    poll = settings.POLL_SECONDS
    engine = tasks.Here.engine = Engine(contexts, idle=poll, late=poll, send=send, breath=messages.BREATH)
    watchdog = tasks.Here.watchdog = Watchdog(contexts, settings.WATCHDOG_SECONDS, start_again)
    bells, recorder = messages.Bells(own=contexts), Recorder()
    recorder.start()
    engine.start()
    bells.start()
    watchdog.start()
    consumer = celery.app.Worker(
        queues=[celery.queue(context) for context in contexts], pool="threads", concurrency=celery.THREADS,
        hostname=f"{'.'.join(contexts)}-{os.getpid()}@{socket.gethostname()}", without_gossip=True, without_mingle=True,
        quiet=True, loglevel=settings.LOGGING["root"]["level"], optimization="fair",
    )  # fmt: skip
    consumer.start()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})  # a second one changes nothing
    watchdog.stop()
    engine.stop()
    recorder.stop()
    bells.stop()
    return consumer.exitcode or 0
