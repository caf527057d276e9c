"""The WSGI application, with the embedded engine, or with the sender of wake-ups for the workers of ENGINE=celery.

`server` is the same application behind a buffer for requests, for granian's RSGI interface (ops/launch/serve.py). Another WSGI
server needs a proxy in front that buffers requests.
"""

import gc
import os
import signal
import threading
from multiprocessing import current_process
from multiprocessing.util import Finalize

if current_process().name == "granian-worker":
    # The fork inherited the handlers of its parent, which would ignore SIGTERM until the server has set its own.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

gc.disable()  # what is loaded now stays until the process ends: without collections this takes a fifth less time

from shop.http.repeated_requests import BatchingBuffer, build_application

application = build_application()

from django.conf import settings

from config.checks import refuse_wrong_configuration
from shop.calls.call_metrics import CallRecorder
from shop.http import health
from shop.parent_process import watch_parents
from shop.request_buffer import Admission

refuse_wrong_configuration()
gc.freeze()  # later collections pass over it
gc.enable()
server = BatchingBuffer(
    application,
    threads=settings.WEB_THREADS,
    max_body_bytes=settings.MAX_BODY_BYTES,
    body_timeout_seconds=settings.BODY_TIMEOUT_SECONDS,
    admissions=[
        Admission(
            paths=settings.PASSWORD_PATHS,
            limit=settings.PASSWORD_HASHING_THREADS + settings.PASSWORD_HASHING_QUEUE,
            own_threads=settings.PASSWORD_HASHING_THREADS,
        ),
        Admission(paths=settings.CHECKOUT_PATHS, limit=settings.WEB_THREADS + settings.CHECKOUT_QUEUE),
    ],
)

if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGUSR1, lambda *_: health.draining.set())  # sent by ops/launch/serve.py before it stops

if current_process().name == "granian-worker":
    watch_parents()

recorder = CallRecorder()
recorder.start()
Finalize(recorder, recorder.stop, exitpriority=90)  # after the engine, whose handlers call too

if settings.ENGINE == "embedded":
    from shop.messaging.engine import Engine

    engine = Engine()
    engine.start()
    # The server's worker is a multiprocessing process: its finalizers run after the last request, on SIGTERM too.
    Finalize(engine, engine.stop, exitpriority=100)
elif settings.ENGINE == "celery":
    from shop.messaging.celery.wake_up import WakeUpSender

    wake_up_sender = WakeUpSender()
    wake_up_sender.start()
    Finalize(wake_up_sender, wake_up_sender.stop, exitpriority=100)
