"""Notices that a worker does not get messages any more although its broker takes them: its connection is half dead, its
queue was deleted, or its consumer has lost itself while it reconnected.
"""

import threading
from collections.abc import Callable

import structlog

from config.celery import THREADS
from config.messages import broker

log = structlog.get_logger(__name__)


HEARTBEATS = 5  # that may go unheard


class Watchdog:
    """Sends heartbeats through each queue that this worker reads, and barks if nothing at all comes out of one of them.

    Other workers of a context may take the heartbeats of this one, but send their own, and brokers serve all in turn.
    What counts is heartbeats, not time: a process that was stopped for a while has missed nothing. Nor has one all of whose
    threads wait for a database: whoever gave them their messages is alive.
    """

    def __init__(self, contexts: tuple[str, ...], patience: float, bark: Callable[[str], None]) -> None:
        self.pause, self.bark = patience / HEARTBEATS, bark
        self.unheard = dict.fromkeys(contexts, 0)
        self.threads = threading.Semaphore(THREADS)  # those that no message keeps at a database
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def heard(self, context: str) -> None:
        """A message has come. Its word is not sealed: strangers' contexts are not ours to watch."""
        if context in self.unheard:
            self.unheard[context] = 0

    def start(self) -> None:
        self.thread.start()

    def stop(self) -> None:
        self.stopping.set()
        self.thread.join()

    def look(self) -> bool:
        """Send a heartbeat through each queue, unless nobody has a hand free. Whether it had to bark."""
        if not self.threads.acquire(blocking=False):
            self.unheard = dict.fromkeys(self.unheard, 0)
            return False
        self.threads.release()
        for context, unheard in self.unheard.items():
            if unheard >= HEARTBEATS:
                log.error("consumer_stopped", context=context)
                self.bark(context)
                return True
            if broker.send(context, "heartbeat", context, however_full=True):
                self.unheard[context] += 1
        return False

    def _watch(self) -> None:
        while not self.stopping.wait(self.pause):
            if self.look():
                return
