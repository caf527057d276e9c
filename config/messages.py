"""What this process sends through the broker: quickly or not at all, for whatever is not sent is done without it."""

import threading
import time
from collections.abc import Iterable

import msgspec
import structlog
from kombu import Producer

from config.celery import app, queue
from config.seals import seal
from shop import inbox, outbox
from shop.events import Envelope

PATIENCE = 1.0  # seconds that a broker may take, to connect, to answer, and to confirm
REST = 1.0  # seconds for which nobody tries after a failure, or, at least, after what took half of that patience
FULL = 300  # messages waiting in a queue, with which it gets no more: nobody seems to read them
LOOK = 1.0  # seconds between two looks at how many are waiting
BREATH = 0.2  # seconds between two messages that one could have been: rings, and envelopes for the same context

log = structlog.get_logger(__name__)

# By transport: a socket that says nothing must not keep a thread.
LIMITS = {
    "redis": {"socket_timeout": PATIENCE, "socket_connect_timeout": PATIENCE},
    "amqp": {"read_timeout": PATIENCE, "write_timeout": PATIENCE},
}


class Broker:
    """Connections to the broker, one for each thread that sends; none of them is waited for longer than PATIENCE."""

    def __init__(self) -> None:
        self.own = threading.local()
        self.rests_until = 0.0
        self.looks: dict[str, tuple[float, int]] = {}  # when a queue was looked at, and what was waiting in it

    def send(self, context: str, task: str, *arguments: object, however_full: bool = False) -> bool:
        """Give the context's workers something to do. Whether the broker has confirmed that it has it."""
        began = time.monotonic()
        if began < self.rests_until:
            return False
        try:
            producer = self._producer()
            if self._waiting(producer, queue(context)) > FULL and not however_full:
                return False
            app.send_task(
                f"satsuma.{task}", arguments, queue=queue(context), producer=producer, declare=[], retry=False,
                confirm_timeout=PATIENCE, argsrepr="", kwargsrepr="",
            )  # fmt: skip
        except Exception as error:  # whatever is wrong with a broker, the shop goes on without it
            self._hang_up()
            self.rests_until = time.monotonic() + REST
            log.warning("broker_unavailable", task=task, context=context, why=repr(error))
            return False
        if (took := time.monotonic() - began) > PATIENCE / 2:
            self.rests_until = time.monotonic() + max(REST, took)
            log.warning("broker_slow", task=task, context=context, took=took)
        return True

    def _producer(self) -> Producer:
        if not hasattr(self.own, "producer"):
            limits = LIMITS.get(app.connection_for_write().transport.driver_type, {})
            connection = app.connection_for_write(transport_options=limits)
            connection.ensure_connection(max_retries=0)  # else kombu sleeps for two seconds and tries again
            self.own.producer = Producer(connection.channel(), auto_declare=False)
        return self.own.producer

    def _waiting(self, producer: Producer, name: str) -> int:
        """How many messages are in a queue, as of a moment ago; the look itself makes sure that it is there."""
        looked, found = self.looks.get(name, (0.0, 0))
        if time.monotonic() - looked > LOOK:
            wanted = app.amqp.queues[name]
            answer = producer.channel.queue_declare(
                queue=name, durable=wanted.durable, exclusive=False, auto_delete=False, arguments=wanted.queue_arguments
            )
            found = answer.message_count
            self.looks[name] = (time.monotonic(), found)
        return found

    def _hang_up(self) -> None:
        producer = self.own.__dict__.pop("producer", None)
        if producer is not None:
            try:
                producer.connection.release()
            except Exception as error:  # it was broken before
                log.debug("broker_connection_not_closed", why=repr(error))


broker = Broker()


def carry(publisher: str, subscriber: str, envelopes: Iterable[Envelope]) -> bool:
    """Send envelopes to the subscriber's queue: a `relay.Send`. Its worker stores them, and says so to the publisher's."""
    return _say(publisher, subscriber, "accept", list(envelopes))


def confirm(subscriber: str, publisher: str, answer: "Answer") -> bool:
    """Send to the publisher's queue what became of its envelopes."""
    return _say(subscriber, publisher, "acknowledge", answer)


class Answer(msgspec.Struct, frozen=True):
    """Ids of the events that the subscriber has stored, and of those that it refused, with reasons."""

    stored: list[str]
    refused: dict[str, str]


def _say(sender: str, receiver: str, task: str, what: object) -> bool:
    text = msgspec.json.encode(what).decode()
    return broker.send(receiver, task, sender, receiver, text, seal(sender, task, receiver, text))


class Bells:
    """Rings at the workers of other processes, from a thread of its own: who has committed something does not wait.

    A bell that was rung already is not rung twice; one that cannot be heard is forgotten, for workers look by themselves.
    """

    def __init__(self, own: tuple[str, ...] = ()) -> None:
        self.own = own  # contexts for which an engine of this process works, and hears it anyway
        self.rung = threading.Event()
        self.pending: set[tuple[str, str]] = set()
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, name="bells", daemon=True)

    def start(self) -> None:
        outbox.doorbell.append(self.ring_relay)
        inbox.doorbell.append(self.ring_handlers)
        self.thread.start()

    def stop(self) -> None:
        """What was rung by now is still passed on, if the broker listens."""
        outbox.doorbell.remove(self.ring_relay)
        inbox.doorbell.remove(self.ring_handlers)
        self.stopping.set()
        self.rung.set()
        self.thread.join(3 * PATIENCE)

    def ring_relay(self, context: str) -> None:
        self._ring("relay", context)

    def ring_handlers(self, context: str) -> None:
        self._ring("handle", context)

    def _ring(self, task: str, context: str) -> None:
        if context not in self.own:
            with self.lock:
                self.pending.add((task, context))
            self.rung.set()

    def _run(self) -> None:
        while not self.stopping.is_set():
            self.rung.wait()
            self.rung.clear()
            self._pass_on()
            self.stopping.wait(BREATH)
        self._pass_on()

    def _pass_on(self) -> None:
        with self.lock:
            due, self.pending = self.pending, set()
        for task, context in sorted(due):
            broker.send(context, task, context)
