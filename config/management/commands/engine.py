"""manage.py engine: relay, handlers and timers in a process of their own, beside web processes with ENGINE=none."""

import signal
from typing import Any

from django.core.management.base import BaseCommand

from shop.engine import Engine
from shop.traffic import Recorder


class Command(BaseCommand):
    help = "Run the engine of the hosted contexts until SIGTERM."

    def handle(self, *args: Any, **options: Any) -> None:
        stop = {signal.SIGTERM, signal.SIGINT}
        signal.pthread_sigmask(signal.SIG_BLOCK, stop)  # waited for, not handled: a second one changes nothing
        engine, recorder = Engine(), Recorder()
        engine.start()
        recorder.start()
        signal.sigwait(stop)
        engine.stop()
        recorder.stop()
