"""Configure Celery: one queue per context, and the schedule of `python -m celery -A config.celery beat`.

Messages carry envelopes and wake-ups. The databases store what is to be done, so the broker stores no results, retries
nothing, and may lose any message.
"""

import logging
from collections import defaultdict
from typing import Any

from celery import Celery, signals
from django.conf import settings
from kombu import Queue

from shop.db.database import hosted_contexts
from shop.logs import MessageBodyFilter, ReconnectFilter
from shop.messaging.engine import list_timers

VISIBILITY_TIMEOUT_SECONDS = 300  # Redis then gives an unfinished message to another worker
WORKER_THREADS = 4  # store envelopes and acknowledgements; handlers run in the engine's own threads


def get_queue_name(context: str) -> str:
    """Return the queue name of a context. The prefix lets shops with different databases share a broker."""
    return f"{settings.DATABASE_PREFIX}.{context}"


def build_schedule() -> dict[str, dict[str, Any]]:
    """Build the beat schedule: one entry per interval, with the names of the timers of each context.

    Timers of the same interval share an entry, because beat compares all entries on each tick.
    """
    names_by_interval: dict[float, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for timer in list_timers(hosted_contexts()):
        names_by_interval[timer.interval_seconds][timer.context].append(timer.name)
    return {
        f"each {seconds:g} s": {"task": "satsuma.timers", "schedule": seconds, "args": (dict(names),)}
        for seconds, names in names_by_interval.items()
    }


# No fixups: Celery's own fixup for Django closes the connections around every task.
app = Celery(
    "satsuma", broker=settings.BROKER_URL, set_as_current=False, fixups=[], include=["shop.messaging.celery.tasks"]
)
app.conf.update(
    task_queues=[
        Queue(get_queue_name(context), routing_key=get_queue_name(context)) for context in settings.ALL_CONTEXTS
    ],
    task_default_queue=get_queue_name(hosted_contexts()[0]),
    task_default_exchange="",  # publish directly to the queue: there is no binding that a flush could delete
    task_create_missing_queues=False,
    task_serializer="json",
    accept_content=["json"],
    task_ignore_result=True,
    task_acks_late=True,
    worker_enable_remote_control=False,  # a client that can write to the broker must not be able to stop workers
    worker_prefetch_multiplier=4,
    worker_hijack_root_logger=False,
    worker_redirect_stdouts=False,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_connection_timeout=1.0,
    broker_heartbeat=10,
    broker_transport_options={
        "visibility_timeout": VISIBILITY_TIMEOUT_SECONDS,
        "confirm_publish": True,
        "health_check_interval": 5,
    },
    worker_consumer="shop.messaging.celery.consumer:Consumer",
    beat_scheduler="shop.messaging.celery.beat:Scheduler",
    beat_schedule=build_schedule(),
)


@signals.setup_logging.connect  # type: ignore[untyped-decorator]  # Celery has no types
def configure_celery_logging(**_: object) -> None:
    """Keep the logging of the settings: Celery configures no logging if this signal has a receiver."""
    for name in ("celery.worker.strategy", "celery.app.trace", "celery.beat", "celery.pool"):
        logging.getLogger(name).setLevel(logging.WARNING)  # they log each message
    logging.getLogger("celery.worker.consumer.consumer").addFilter(MessageBodyFilter())
    for name in ("celery.worker.consumer.consumer", "celery.beat"):
        logging.getLogger(name).addFilter(ReconnectFilter())
