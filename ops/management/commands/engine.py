"""manage.py engine: run relay, handlers and timers in a separate process, beside web processes with ENGINE=none."""

import signal

from django.core.checks import Tags
from django.core.management.base import BaseCommand

from shop.calls.call_metrics import CallRecorder
from shop.db.database import hosted_contexts
from shop.messaging.engine import Engine

POLL_INTERVAL_SECONDS = 0.25  # nothing wakes this engine up: the web processes run none


class Command(BaseCommand):
    help = "Run the engine of the hosted contexts until SIGTERM or Ctrl-C."

    def handle(self, **_: object) -> None:
        stop = {signal.SIGTERM, signal.SIGINT}
        signal.pthread_sigmask(signal.SIG_BLOCK, stop)  # awaited below, so that a second signal changes nothing
        self.check(tags=[Tags.database], databases=hosted_contexts())
        engine, recorder = Engine(poll_interval=POLL_INTERVAL_SECONDS), CallRecorder()
        engine.start()
        recorder.start()
        signal.sigwait(stop)
        engine.stop()
        recorder.stop()
