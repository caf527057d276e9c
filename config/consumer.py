"""Celery's consumer, but it outlives a Redis or Valkey that dies while messages are in hand."""

from typing import Any

from celery.worker import consumer
from kombu.transport import virtual


class Consumer(consumer.Consumer):
    """Gives nothing back through a connection that is lost, and acknowledges nothing: whoever sent it does not wait for it.

    Celery closes such a connection twice, and the second time kombu puts back what was not finished; what is finished later
    it acknowledges. Both go through a transport that is not there any more, and that ends the worker (5.7 of both). With
    RabbitMQ either is an error that Celery expects.
    """

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        lost = self.task_consumer.channel if self.task_consumer else None
        if isinstance(lost, virtual.Channel):
            lost.do_restore = False
            lost.basic_ack = lost.basic_reject = _refuse
        super().on_connection_error_after_connected(exc)


def _refuse(*_: Any, **__: Any) -> None:
    """An error that Celery expects of a channel that is lost, and goes on from."""
    raise ConnectionResetError("this connection was lost")
