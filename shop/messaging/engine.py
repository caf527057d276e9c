"""The engine runs relay, handlers and timers in daemon threads. Any number of processes may run one.

It needs nothing but the databases: each thread claims its work there before it does it, so a process may be killed at
any instruction and another one continues. With the embedded engine the web processes run it. With the Celery engine a
worker runs it (ops/launch/worker.py): messages wake it up, and polling finds what no message announced.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import structlog

from shop.calls import tracing
from shop.db.database import OUTAGE_ERRORS, are_connections_scarce, close_all_connections, hosted_contexts
from shop.messaging import events, handling, inbox, outbox, relay

POLL_INTERVAL_SECONDS = 1.0  # between two claims that find nothing, unless a wake-up comes before
MIN_BATCH_INTERVAL_SECONDS = 0.2  # between claims that do not fill a batch: at 50 orders a second, ten are one set
ABANDONED_INTERVAL_SECONDS = 1.0
TIMER_PRECISION_SECONDS = 0.125
PAUSE_SECONDS = 0.25  # after an error
TIMER_THREADS = 2
RUNNING = float("inf")  # as the next run of a timer: a thread of this process runs it now

Work = Callable[[str], int | None]
log = structlog.get_logger(__name__)


def run_once() -> int:
    """Deliver and handle once in every hosted context. Returns the number of claimed rows."""
    return sum(relay.deliver_due(context) + handling.handle_due(context) for context in hosted_contexts())


def handle_abandoned(context: str) -> None:
    """Handle every inbox row that a worker started and did not finish."""
    while handling.handle_abandoned(context):
        pass


# Timers that every context has: interval in seconds, and the function.
kernel_timers: dict[str, tuple[float, Callable[[str], object]]] = {
    "take_over": (ABANDONED_INTERVAL_SECONDS, handle_abandoned),
}


def _run_kernel_timer(run: Callable[[str], object], context: str) -> None:
    run(context)


def list_timers(contexts: tuple[str, ...]) -> list[events.Timer]:
    """List the timers of these contexts, and those of the kernel, which every context has."""
    return [*events.list_timers(contexts)] + [
        events.Timer(f"{context}.shop.{name}", seconds, partial(_run_kernel_timer, run, context))
        for context in contexts
        for name, (seconds, run) in kernel_timers.items()
    ]


def run_until_idle(max_rounds: int = 1000) -> None:
    """Deliver and handle until nothing is due. For tests and commands; a running shop uses `Engine`."""
    for _ in range(max_rounds):
        if not run_once():
            return
    raise RuntimeError(f"still busy after {max_rounds} rounds: events may trigger each other without end")


class Engine:
    """Start the threads of an engine, and stop them after they have finished their current work.

    contexts: work for these only; by default for all hosted contexts.
    poll_interval: seconds between two claims that find nothing. Longer if a broker sends wake-ups.
    timer_delay: seconds that each timer runs later than its interval, to leave it to Celery beat.
    send: how the relay sends envelopes, see `relay.deliver_due`; relay_interval: minimal seconds between two batches.
    """

    def __init__(
        self,
        contexts: tuple[str, ...] = (),
        *,
        poll_interval: float = POLL_INTERVAL_SECONDS,
        timer_delay: float = 0.0,
        send: relay.EnvelopeSender | None = None,
        relay_interval: float = MIN_BATCH_INTERVAL_SECONDS,
    ) -> None:
        self.contexts, self.poll_interval = contexts or hosted_contexts(), poll_interval
        self.stopping = threading.Event()
        self.timers = [
            replace(timer, interval_seconds=timer.interval_seconds + timer_delay)
            for timer in list_timers(self.contexts)
        ]
        self.next_run = {timer.name: 0.0 for timer in self.timers}
        self.lock = threading.Lock()
        self.relay_events = {context: threading.Event() for context in self.contexts}
        self.handler_events = {context: threading.Event() for context in self.contexts}
        deliver, handle = partial(relay.deliver_due, send=send), handling.handle_new
        self.threads = []
        for context in self.contexts:
            run_relay = partial(self._loop, deliver, context, self.relay_events, relay.BATCH_SIZE, relay_interval)
            run_handlers = partial(
                self._loop, handle, context, self.handler_events, handling.BATCH_SIZE, MIN_BATCH_INTERVAL_SECONDS
            )
            self.threads += [
                threading.Thread(target=run_relay, name=f"relay-{context}", daemon=True),
                threading.Thread(target=run_handlers, name=f"handlers-{context}", daemon=True),
            ]
        self.threads += [
            threading.Thread(target=self._run_timers, name=f"timers-{number}", daemon=True)
            for number in range(TIMER_THREADS)
        ]

    def start(self) -> None:
        outbox.wake_callbacks.append(self.wake_relay)
        inbox.wake_callbacks.append(self.wake_handlers)
        for thread in self.threads:
            thread.start()
        log.info("engine_started", contexts=self.contexts, timers=len(self.timers))

    def stop(self, timeout: float = 10.0) -> None:
        """Let each thread finish its current work. Another process takes over what is not finished in time."""
        self.stopping.set()
        outbox.wake_callbacks.remove(self.wake_relay)
        inbox.wake_callbacks.remove(self.wake_handlers)
        for wake_event in (*self.relay_events.values(), *self.handler_events.values()):
            wake_event.set()
        deadline = time.monotonic() + timeout
        for thread in self.threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        log.info("engine_stopped")

    def wake_relay(self, context: str) -> None:
        """Let the relay of a context look for deliveries now. Contexts of other engines are ignored."""
        if context in self.relay_events:
            self.relay_events[context].set()

    def wake_handlers(self, context: str) -> None:
        """Let the handlers of a context look for inbox rows now. Contexts of other engines are ignored."""
        if context in self.handler_events:
            self.handler_events[context].set()

    def run_timer_now(self, name: str) -> None:
        """Let a timer run now, unless it is running. Unknown names are ignored."""
        with self.lock:
            if self.next_run.get(name, RUNNING) != RUNNING:
                self.next_run[name] = 0.0

    def _loop(
        self, work: Work, context: str, wake_events: dict[str, threading.Event], batch_size: int, batch_interval: float
    ) -> None:
        wake_event, is_idle = wake_events[context], False
        while not self.stopping.is_set():
            wake_event.clear()
            claimed = self._run_safely(work, context)
            if not claimed:
                if is_idle or are_connections_scarce():
                    close_all_connections()  # to its pool, which closes what no thread needs
                is_idle = not wake_event.wait(self.poll_interval)
            elif claimed < batch_size:
                self.stopping.wait(batch_interval)
        close_all_connections()

    def _run_timers(self) -> None:
        while not self.stopping.is_set():
            timer = self._claim_due_timer()
            if timer is None:
                self.stopping.wait(TIMER_PRECISION_SECONDS)
            else:
                with tracing.use_trace(tracing.start_trace()):
                    self._run_timer(timer)
                close_all_connections()
                self._schedule_next_run(timer)
        close_all_connections()

    def _run_timer(self, timer: events.Timer) -> None:
        self._run_safely(lambda _: timer.run(), timer.name)

    def _claim_due_timer(self) -> events.Timer | None:
        """Return the timer that is due first and that no thread of this process runs, if there is one."""
        with self.lock:
            timer = min(self.timers, key=lambda timer: self.next_run[timer.name])
            if self.next_run[timer.name] > time.monotonic():
                return None
            self.next_run[timer.name] = RUNNING
            return timer

    def _schedule_next_run(self, timer: events.Timer) -> None:
        with self.lock:
            self.next_run[timer.name] = time.monotonic() + timer.interval_seconds

    def _run_safely(self, work: Work, subject: str) -> int:
        """Run one step of work. Log an error instead of raising it: a problem in one context must not stop the others."""
        try:
            return work(subject) or 0
        except OUTAGE_ERRORS as error:
            log.warning("engine_outage", subject=subject, error=str(error))
            close_all_connections()
            self.stopping.wait(PAUSE_SECONDS)
        except Exception:
            log.exception("engine_error", subject=subject)
            self.stopping.wait(PAUSE_SECONDS)
        return 0
