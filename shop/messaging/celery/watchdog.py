"""Detect that a worker receives no messages although its broker accepts them.

Causes are a half-open connection, a deleted queue, or a consumer that stopped while it reconnected.
"""

import threading
from collections.abc import Callable

import structlog

from shop.messaging.celery.app import WORKER_THREADS
from shop.messaging.celery.broker import broker

log = structlog.get_logger(__name__)

MAX_MISSED_HEARTBEATS = 5


class Watchdog:
    """Send heartbeats through each queue of this worker, and call `on_stopped` if no message at all arrives from one.

    Other workers of a context may receive this worker's heartbeats, but they send their own, and brokers serve all
    consumers in turn. Heartbeats are counted, not time: a process that was suspended has missed none. While all threads
    wait for a database nothing is counted either, because the messages that they process did arrive.
    timeout: seconds without a message after which a consumer counts as stopped.
    """

    def __init__(self, contexts: tuple[str, ...], timeout: float, on_stopped: Callable[[str], None]) -> None:
        self.interval, self.on_stopped = timeout / MAX_MISSED_HEARTBEATS, on_stopped
        self.missed_heartbeats = dict.fromkeys(contexts, 0)
        self.free_threads = threading.Semaphore(WORKER_THREADS)  # threads that do not wait for a database
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def record_message(self, context: str) -> None:
        """Reset the count of a queue after a message. The name may be unsigned, so unknown contexts are ignored."""
        if context in self.missed_heartbeats:
            self.missed_heartbeats[context] = 0

    def start(self) -> None:
        self.thread.start()

    def stop(self) -> None:
        self.stopping.set()
        self.thread.join()

    def check(self) -> bool:
        """Send a heartbeat through each queue, unless no thread is free. Returns whether a consumer has stopped."""
        if not self.free_threads.acquire(blocking=False):
            self.missed_heartbeats = dict.fromkeys(self.missed_heartbeats, 0)
            return False
        self.free_threads.release()
        for context, missed in self.missed_heartbeats.items():
            if missed >= MAX_MISSED_HEARTBEATS:
                log.error("consumer_stopped", context=context)
                self.on_stopped(context)
                return True
            if broker.send(context, "heartbeat", context, ignore_queue_limit=True):
                self.missed_heartbeats[context] += 1
        return False

    def _run(self) -> None:
        while not self.stopping.wait(self.interval):
            if self.check():
                return
