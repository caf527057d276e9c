"""Wake up the workers of other processes after a commit, without making the commit wait for the broker."""

import threading

from shop.messaging import inbox, outbox
from shop.messaging.celery import broker

MIN_BATCH_INTERVAL_SECONDS = 0.2  # minimal time between two batches of wake-ups, or of envelopes for one context


class WakeUpSender:
    """Send wake-ups from a separate thread.

    A wake-up that is already pending is not sent twice. One that cannot be sent is dropped, because workers also poll.
    local_contexts: contexts whose engine runs in this process and is woken directly.
    """

    def __init__(self, local_contexts: tuple[str, ...] = ()) -> None:
        self.local_contexts = local_contexts
        self.is_pending = threading.Event()
        self.pending: set[tuple[str, str]] = set()
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, name="wake-up-sender", daemon=True)

    def start(self) -> None:
        outbox.wake_callbacks.append(self.wake_relay)
        inbox.wake_callbacks.append(self.wake_handlers)
        self.thread.start()

    def stop(self) -> None:
        """Send what is pending, if the broker is available, and end the thread."""
        outbox.wake_callbacks.remove(self.wake_relay)
        inbox.wake_callbacks.remove(self.wake_handlers)
        self.stopping.set()
        self.is_pending.set()
        self.thread.join(3 * broker.BROKER_TIMEOUT_SECONDS)

    def wake_relay(self, context: str) -> None:
        self._add("relay", context)

    def wake_handlers(self, context: str) -> None:
        self._add("handle", context)

    def _add(self, task: str, context: str) -> None:
        if context not in self.local_contexts:
            with self.lock:
                self.pending.add((task, context))
            self.is_pending.set()

    def _run(self) -> None:
        while not self.stopping.is_set():
            self.is_pending.wait()
            self.is_pending.clear()
            self._send_pending()
            self.stopping.wait(MIN_BATCH_INTERVAL_SECONDS)
        self._send_pending()

    def _send_pending(self) -> None:
        with self.lock:
            due, self.pending = self.pending, set()
        for task, context in sorted(due):
            broker.broker.send(context, task, context)
