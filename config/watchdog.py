"""Notices that a worker does not get messages any more although its broker takes them: its connection is half dead, its
queue was deleted, or its consumer has lost itself while it reconnected.
"""

import threading
import time
from collections.abc import Callable

import structlog

from config.messages import broker

log = structlog.get_logger(__name__)


class Watchdog:
    """Sends a heartbeat through each queue that this worker reads, and barks if nothing at all comes out of one of them.

    Other workers of a context may take the heartbeats of this one, but send their own, and brokers serve all in turn.
    """

    def __init__(self, contexts: tuple[str, ...], patience: float, bark: Callable[[str], None]) -> None:
        self.patience, self.bark = patience, bark
        self.last = dict.fromkeys(contexts, time.monotonic())
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def heard(self, context: str) -> None:
        """A message has come."""
        self.last[context] = time.monotonic()

    def start(self) -> None:
        self.thread.start()

    def stop(self) -> None:
        self.stopping.set()
        self.thread.join()

    def _watch(self) -> None:
        while not self.stopping.wait(self.patience / 5):
            for context in self.last:
                if not broker.send(context, "heartbeat", context, however_full=True):
                    self.heard(context)  # not the consumer's fault
                elif time.monotonic() - self.last[context] > self.patience:
                    log.error("consumer_stopped", context=context)
                    return self.bark(context)
