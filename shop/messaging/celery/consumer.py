"""Celery's consumer, changed so that it survives a Redis or Valkey crash while messages are being processed."""

from typing import NoReturn

from celery.worker import consumer
from kombu.transport import virtual


class Consumer(consumer.Consumer):  # type: ignore[misc]  # Celery has no types
    """Neither restore nor acknowledge messages through a lost connection. Their senders do not depend on it.

    Celery closes such a connection twice, and the second time kombu restores the unfinished messages; it also
    acknowledges messages that are finished later. Both use a transport that no longer exists, and the error ends the
    worker (Celery 5.7, kombu 5.7). With RabbitMQ both are errors that Celery expects.
    """

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        lost = self.task_consumer.channel if self.task_consumer else None
        if isinstance(lost, virtual.Channel):
            lost.do_restore = False
            vars(lost).update(basic_ack=_raise_connection_lost, basic_reject=_raise_connection_lost)
        super().on_connection_error_after_connected(exc)


def _raise_connection_lost(*_: object, **__: object) -> NoReturn:
    """Raise an error that Celery expects from the channel of a lost connection and recovers from."""
    raise ConnectionResetError("the broker connection of this channel was lost")
