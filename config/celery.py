"""The Celery engine's wiring: one queue per context, and what `python -m celery -A config.celery beat` sends to them.

Messages carry envelopes and ring bells; what is to be done stands in the databases. So nothing is kept here: no results,
no retries, no promise that a message arrives.
"""

import logging
import os
from collections import defaultdict
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

from celery import Celery, signals
from django.conf import settings
from kombu import Queue

from config.logs import NoBody
from shop.database import hosted
from shop.engine import timers

VISIBILITY = 300  # seconds until Redis gives a message to somebody else whose worker has not finished it
THREADS = 4  # that store envelopes and acknowledgements; handlers run in the engine's own


def queue(context: str) -> str:
    """The name of a context's queue. Shops with databases of their own may share a broker."""
    return f"{settings.DATABASE_PREFIX}.{context}"


def schedule() -> dict[str, dict[str, Any]]:
    """What beat sends: for each interval, to each context the names of its timers. Few entries: beat compares all of them."""
    found: dict[float, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for timer in timers(hosted()):
        found[timer.every][timer.context].append(timer.name)
    return {
        f"each {seconds:g} s": {"task": "satsuma.timers", "schedule": seconds, "args": (dict(names),)}
        for seconds, names in found.items()
    }


# No fixups: Celery's own for Django closes the connections around every task.
app = Celery("satsuma", broker=settings.BROKER_URL, set_as_current=False, fixups=[], include=["config.tasks"])
app.conf.update(
    task_queues=[Queue(queue(context), routing_key=queue(context)) for context in settings.ALL_CONTEXTS],
    task_default_queue=queue(hosted()[0]),
    task_default_exchange="",  # straight into the queue: no binding that a flush could take away
    task_create_missing_queues=False,
    task_serializer="json",
    accept_content=["json"],
    task_ignore_result=True,
    task_acks_late=True,
    worker_enable_remote_control=False,  # who may write to the broker may not end workers
    worker_prefetch_multiplier=4,
    worker_hijack_root_logger=False,
    worker_redirect_stdouts=False,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_connection_timeout=1.0,
    broker_heartbeat=10,
    broker_transport_options={"visibility_timeout": VISIBILITY, "confirm_publish": True, "health_check_interval": 5},
    worker_consumer="config.consumer:Consumer",
    beat_scheduler="config.beat:Scheduler",
    beat_schedule=schedule(),
)


@signals.setup_logging.connect
def keep_our_logs(**_: Any) -> None:
    """Celery sets up no logs where somebody answers this signal: the settings have. Messages are too many to tell of each."""
    for name in ("celery.worker.strategy", "celery.app.trace", "celery.beat", "celery.pool"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("celery.worker.consumer.consumer").addFilter(NoBody())
