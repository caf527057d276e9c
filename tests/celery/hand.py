"""A worker by hand: takes one message after the other out of a real broker, and does with it what a worker does."""

from kombu import Connection, Queue

from config import tasks
from config.celery import app, queue
from config.watchdog import Watchdog
from shop.database import hosted
from shop.engine import Engine


class ByHand:
    """Works for all hosted contexts. Its engine and its watchdog do nothing unasked."""

    def __init__(self, url: str) -> None:
        self.connection = Connection(url)

    def __enter__(self) -> "ByHand":
        tasks.Here.engine = Engine()
        tasks.Here.watchdog = Watchdog(hosted(), 3600, print)
        self.channel = self.connection.channel()
        self.empty()
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()
        del tasks.Here.engine, tasks.Here.watchdog

    def empty(self) -> None:
        """Lose every message."""
        self.take()

    def take(self) -> list[tuple[str, list]]:
        """All messages that wait, by their tasks' names, with arguments."""
        found = []
        for context in hosted():
            self.channel.queue_declare(queue=queue(context), durable=True, auto_delete=False)
            while message := Queue(queue(context)).bind(self.channel).get():
                arguments, _, _ = message.decode()
                found.append((message.headers["task"].removeprefix("satsuma."), arguments))
                message.ack()
        return found

    def do(self, messages: list[tuple[str, list]]) -> None:
        for task, arguments in messages:
            app.tasks[f"satsuma.{task}"](*arguments)
