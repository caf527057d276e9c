"""Celery's consumer, but it outlives a broker that dies while messages are in hand."""

from typing import Any

from celery.worker import consumer


class Consumer(consumer.Consumer):
    """Gives nothing back through a connection that is lost, and acknowledges nothing: whoever sent it does not wait for it.

    Celery closes such a connection twice, and the second time kombu puts back what was not finished; what is finished later
    it acknowledges. Both go through a transport that is not there any more, and that ends the worker (5.7 of both).
    """

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        if self.task_consumer:
            lost = self.task_consumer.channel
            lost.do_restore = False
            lost.basic_ack = lost.basic_reject = _say_nothing
        super().on_connection_error_after_connected(exc)


def _say_nothing(*_: Any, **__: Any) -> None:
    """For a channel that nobody listens to."""
