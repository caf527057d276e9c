"""manage.py engine: relay, handlers and timers in a process of their own, beside web processes with ENGINE=none."""

import signal
import threading
from typing import Any

from django.core.management.base import BaseCommand

from shop.engine import Engine


class Command(BaseCommand):
    help = "Run the engine of the hosted contexts until SIGTERM."

    def handle(self, *args: Any, **options: Any) -> None:
        stop = threading.Event()
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, lambda *_: stop.set())
        engine = Engine()
        engine.start()
        stop.wait()
        engine.stop()
