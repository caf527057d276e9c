"""Send messages through the broker, quickly or not at all. Polling finds the work that no message announces."""

import threading
import time
from collections.abc import Iterable
from typing import NamedTuple

import msgspec
import structlog
from kombu import Producer

from shop.messaging.celery.app import app, get_queue_name
from shop.messaging.celery.signatures import sign_message
from shop.messaging.events import Envelope

BROKER_TIMEOUT_SECONDS = 1.0  # for each of connect, response and confirmation
RETRY_COOLDOWN_SECONDS = 1.0  # nothing is sent for this time after a failure or a response slower than half the timeout
MAX_QUEUE_LENGTH = 300  # a longer queue gets no more messages: its workers are probably stopped
QUEUE_LENGTH_TTL_SECONDS = 1.0  # a queue's length is read again after this time

log = structlog.get_logger(__name__)

# By transport: a socket without a response must not block a thread.
SOCKET_TIMEOUTS = {
    "redis": {"socket_timeout": BROKER_TIMEOUT_SECONDS, "socket_connect_timeout": BROKER_TIMEOUT_SECONDS},
    "amqp": {"read_timeout": BROKER_TIMEOUT_SECONDS, "write_timeout": BROKER_TIMEOUT_SECONDS},
}


class QueueLength(NamedTuple):
    """The number of messages waiting in a queue, and when it was read (monotonic seconds)."""

    read_at: float
    messages: int


class Broker:
    """Connections to the broker, one per sending thread. None of them blocks for longer than the timeout."""

    def __init__(self) -> None:
        self.local = threading.local()
        self.paused_until = 0.0
        self.queue_lengths: dict[str, QueueLength] = {}

    def send(self, context: str, task: str, *arguments: object, ignore_queue_limit: bool = False) -> bool:
        """Send a task to the workers of a context. Returns whether the broker has confirmed it."""
        started = time.monotonic()
        if started < self.paused_until:
            return False
        queue = get_queue_name(context)
        try:
            producer = self._get_producer()
            if self._count_waiting_messages(producer, queue) > MAX_QUEUE_LENGTH and not ignore_queue_limit:
                return False
            app.send_task(
                f"satsuma.{task}",
                arguments,
                queue=queue,
                producer=producer,
                declare=[],
                retry=False,
                confirm_timeout=BROKER_TIMEOUT_SECONDS,
                argsrepr="",
                kwargsrepr="",
            )
        except Exception as error:  # a faulty broker must not stop the shop
            self._close_connection()
            self.paused_until = time.monotonic() + RETRY_COOLDOWN_SECONDS
            log.warning("broker_unavailable", task=task, context=context, error=repr(error))
            return False
        if (duration := time.monotonic() - started) > BROKER_TIMEOUT_SECONDS / 2:
            self.paused_until = time.monotonic() + max(RETRY_COOLDOWN_SECONDS, duration)
            log.warning("broker_slow", task=task, context=context, seconds=duration)
        return True

    def _get_producer(self) -> Producer:
        """Return this thread's producer, connected."""
        if not hasattr(self.local, "producer"):
            timeouts = SOCKET_TIMEOUTS.get(app.connection_for_write().transport.driver_type, {})
            connection = app.connection_for_write(transport_options=timeouts)
            connection.ensure_connection(max_retries=0)  # by default kombu sleeps for two seconds and tries again
            self.local.producer = Producer(connection.channel(), auto_declare=False)
        producer: Producer = self.local.producer
        return producer

    def _count_waiting_messages(self, producer: Producer, name: str) -> int:
        """Return the recent length of a queue. Reading it also creates the queue if a flush has deleted it."""
        length = self.queue_lengths.get(name, QueueLength(0.0, 0))
        if time.monotonic() - length.read_at > QUEUE_LENGTH_TTL_SECONDS:
            queue = app.amqp.queues[name]
            declared = producer.channel.queue_declare(
                queue=name, durable=queue.durable, exclusive=False, auto_delete=False, arguments=queue.queue_arguments
            )
            length = self.queue_lengths[name] = QueueLength(time.monotonic(), declared.message_count)
        return length.messages

    def _close_connection(self) -> None:
        producer = self.local.__dict__.pop("producer", None)
        if producer is not None:
            try:
                producer.connection.release()
            except Exception as error:  # it was broken before
                log.debug("broker_connection_not_closed", error=repr(error))


broker = Broker()


class Acknowledgement(msgspec.Struct, frozen=True):
    """The ids of the events that a subscriber has stored, and the reason for each that it refused."""

    stored: list[str]
    refused: dict[str, str]


def send_envelopes(publisher: str, subscriber: str, envelopes: Iterable[Envelope]) -> bool:
    """Send envelopes to the subscriber's queue (a `relay.EnvelopeSender`). A worker stores and acknowledges them."""
    return _send_signed(publisher, subscriber, "accept", list(envelopes))


def send_acknowledgement(subscriber: str, publisher: str, acknowledgement: Acknowledgement) -> bool:
    """Send the result of storing envelopes to the publisher's queue."""
    return _send_signed(subscriber, publisher, "acknowledge", acknowledgement)


def _send_signed(sender: str, receiver: str, task: str, content: object) -> bool:
    body = msgspec.json.encode(content).decode()
    return broker.send(receiver, task, sender, receiver, body, sign_message(sender, task, receiver, body))
