"""The engine: relay, handlers and timers in daemon threads. Any number of processes may run one.

It needs nothing but the databases, which hold the truth: all that a thread does is claimed there first, so a process
may die at any instruction and the others go on. Embedded in the web processes it is all there is; in a worker beside a
broker (config/worker.py) messages ring its bells, and its own looks are what goes on without any.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import structlog

from shop import events, idempotency, inbox, outbox, relay, tracing, traffic
from shop.database import OUTAGES, close_all, hosted

IDLE = 0.25  # seconds between two looks when no doorbell rings: what another process left
BREATH = 0.03  # seconds after a look that did not find all that it can take, so that the next one takes many at once
TAKE_OVER_EVERY = 0.5
SWEEPERS = 2
FORGET_EVERY = 3600.0

log = structlog.get_logger(__name__)


def work_once() -> int:
    """Deliver and handle once in every hosted context. Returns how much was claimed."""
    return sum(relay.deliver_due(context) + inbox.handle_due(context) for context in hosted())


def forget() -> None:
    """Purge what is old enough to be forgotten, in every hosted context."""
    for context in hosted():
        purge(context)


def purge(context: str) -> None:
    """As `forget`, in one context."""
    purged = {"events": relay.purge(context), "inbox": inbox.purge(context), "keys": idempotency.purge(context)}
    log.info("forgotten", context=context, **purged, traffic=traffic.purge(context))


def take_over(context: str) -> None:
    """Handle all that was started in an inbox without an end."""
    while inbox.take_over(context):
        pass


def timers(contexts: tuple[str, ...]) -> list[events.Timer]:
    """The timers of these contexts, and the engine's own, which each of them has."""
    own = {"take_over": (TAKE_OVER_EVERY, take_over), "forget": (FORGET_EVERY, purge)}
    return [*events.timers(contexts)] + [
        events.Timer(f"{context}.shop.{name}", every, partial(run, context))
        for context in contexts for name, (every, run) in own.items()
    ]  # fmt: skip


def run_until_idle(rounds: int = 1000) -> None:
    """Deliver and handle until nothing is due. For tests and commands; a shop runs `Engine`."""
    for _ in range(rounds):
        if not work_once():
            return
    raise RuntimeError(f"still busy after {rounds} rounds: events chase each other")


class Engine:
    """Starts the threads, and stops them when what they have in hand is done.

    contexts: whom it works for, which are all hosted ones if none is named. Where somebody else rings for it and its
    timers, it looks by itself each `idle` seconds, and for timers that are so much late. send: see `relay.deliver_due`;
    breath: between what is sent.
    """

    def __init__(
        self, contexts: tuple[str, ...] = (), *, idle: float = IDLE, late: float = 0.0, send: relay.Send | None = None,
        breath: float = BREATH,
    ) -> None:  # fmt: skip
        self.contexts, self.idle = contexts or hosted(), idle
        self.stopping = threading.Event()
        self.timers = [replace(timer, every=timer.every + late) for timer in timers(self.contexts)]
        self.next_run = {timer.name: 0.0 for timer in self.timers}
        self.lock = threading.Lock()
        self.relays = {context: threading.Event() for context in self.contexts}  # their bells
        self.handlers = {context: threading.Event() for context in self.contexts}
        deliver = partial(relay.deliver_due, send=send)
        self.threads = [
            *self._loops("relay", deliver, relay.BATCH, breath, self.relays),
            *self._loops("handlers", inbox.handle_fresh, inbox.BATCH, BREATH, self.handlers),
            *(self._thread(f"timers-{n}", self._sweep) for n in range(SWEEPERS)),
        ]

    def _loops(self, name: str, work: Callable, batch: int, breath: float, bells: dict) -> list[threading.Thread]:
        return [self._thread(f"{name}-{of}", self._loop, work, of, bell, batch, breath) for of, bell in bells.items()]

    def _thread(self, name: str, target: Callable, *arguments: object) -> threading.Thread:
        return threading.Thread(target=target, args=arguments, name=name, daemon=True)

    def start(self) -> None:
        outbox.doorbell.append(self.ring_relay)
        inbox.doorbell.append(self.ring_handlers)
        for thread in self.threads:
            thread.start()
        log.info("engine_started", contexts=self.contexts, timers=len(self.timers))

    def stop(self, patience: float = 10.0) -> None:
        """Let each thread finish what it has in hand. What a thread does not finish in time, another process will."""
        self.stopping.set()
        outbox.doorbell.remove(self.ring_relay)
        inbox.doorbell.remove(self.ring_handlers)
        for bell in (*self.relays.values(), *self.handlers.values()):
            bell.set()
        deadline = time.monotonic() + patience
        for thread in self.threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        log.info("engine_stopped")

    def ring_relay(self, context: str) -> None:
        if context in self.relays:
            self.relays[context].set()

    def ring_handlers(self, context: str) -> None:
        if context in self.handlers:
            self.handlers[context].set()

    def ring_timer(self, name: str) -> None:
        """Let a timer run now, unless it runs already."""
        with self.lock:
            if self.next_run.get(name, float("inf")) != float("inf"):
                self.next_run[name] = 0.0

    def _loop(self, work: Callable[[str], int], context: str, bell: threading.Event, batch: int, breath: float) -> None:
        while not self.stopping.is_set():
            bell.clear()
            found = self._survive(work, context)
            if not found:
                bell.wait(self.idle)
            elif found < batch:
                self.stopping.wait(breath)
        close_all()

    def _sweep(self) -> None:
        while not self.stopping.is_set():
            timer = self._due_timer()
            if timer is None:
                self.stopping.wait(IDLE / 2)
            else:
                with tracing.following(tracing.new_story()):
                    self._survive(lambda _, run=timer.run: run(), timer.name)
                self._finished(timer)
        close_all()

    def _due_timer(self) -> events.Timer | None:
        """A timer whose time has come and that no thread of this process runs."""
        with self.lock:
            timer = min(self.timers, key=lambda timer: self.next_run[timer.name])
            if self.next_run[timer.name] > time.monotonic():
                return None
            self.next_run[timer.name] = float("inf")
            return timer

    def _finished(self, timer: events.Timer) -> None:
        with self.lock:
            self.next_run[timer.name] = time.monotonic() + timer.every

    def _survive(self, work: Callable[[str], int | None], subject: str) -> int:
        """One step. An outage or a bug in one context must not stop the others: it is logged, and tried again."""
        try:
            return work(subject) or 0
        except OUTAGES as error:
            log.warning("engine_outage", subject=subject, error=str(error))
            close_all()
            self.stopping.wait(IDLE)
        except Exception:
            log.exception("engine_error", subject=subject)
            self.stopping.wait(IDLE)
        return 0
