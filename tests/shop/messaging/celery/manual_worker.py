"""A worker inside the test process: it takes messages from a real broker one by one and runs their tasks."""

from typing import Any

from kombu import Connection, Queue

from shop.db.database import hosted_contexts
from shop.messaging.celery import tasks
from shop.messaging.celery.app import app, get_queue_name
from shop.messaging.celery.watchdog import Watchdog
from shop.messaging.engine import Engine

Message = tuple[str, list[Any]]  # a task's name and its arguments


class ManualWorker:
    """Work for all hosted contexts. The engine and the watchdog are not started."""

    def __init__(self, url: str) -> None:
        self.connection = Connection(url)

    def __enter__(self) -> "ManualWorker":
        tasks.WorkerState.engine = Engine()
        tasks.WorkerState.watchdog = Watchdog(hosted_contexts(), 3600, print)
        self.channel = self.connection.channel()
        self.discard_messages()
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()
        del tasks.WorkerState.engine, tasks.WorkerState.watchdog

    def discard_messages(self) -> None:
        """Take all waiting messages and drop them."""
        self.take_messages()

    def take_messages(self) -> list[Message]:
        """Take all waiting messages of all queues."""
        messages = []
        for context in hosted_contexts():
            self.channel.queue_declare(queue=get_queue_name(context), durable=True, auto_delete=False)
            while message := Queue(get_queue_name(context)).bind(self.channel).get():
                arguments, _, _ = message.decode()
                messages.append((message.headers["task"].removeprefix("satsuma."), arguments))
                message.ack()
        return messages

    def execute(self, messages: list[Message]) -> None:
        """Run the tasks of messages."""
        for task, arguments in messages:
            app.tasks[f"satsuma.{task}"](*arguments)
