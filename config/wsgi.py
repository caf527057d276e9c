"""The web process, with the embedded engine inside, or the bell that wakes the workers of ENGINE=celery."""

import os
import signal
import threading
from multiprocessing import current_process
from multiprocessing.util import Finalize

if current_process().name == "granian-worker":
    # Forked with its parent's handlers, which would swallow a SIGTERM until the server, after this file, sets its own.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()

from django.conf import settings

from config import health
from shop.traffic import Recorder

if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGUSR1, lambda *_: health.draining.set())  # config/serve.py is about to stop this process

recorder = Recorder()
recorder.start()
Finalize(recorder, recorder.stop, exitpriority=90)  # after the engine, whose handlers call too

if settings.ENGINE == "embedded":
    from shop.engine import Engine

    engine = Engine()
    engine.start()
    # The server's worker is a multiprocessing process: its finalizers run after the last request, on SIGTERM too.
    Finalize(engine, engine.stop, exitpriority=100)
elif settings.ENGINE == "celery":
    from config.messages import Bells

    bells = Bells()
    bells.start()
    Finalize(bells, bells.stop, exitpriority=100)
