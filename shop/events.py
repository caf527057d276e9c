"""Events: past-tense facts that a context announces, and the handlers that listen.

    class OrderEvent(Event, stream="orders.order:{order_id}"):
        order_id: UUID

    class OrderConfirmed(OrderEvent, name="orders.order_confirmed", version=1):
        total: Money

    @on(OrderConfirmed)
    def email_receipt(event): ...
"""

import dataclasses
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any, ClassVar, dataclass_transform
from uuid import UUID

import msgspec

from shop import chaos
from shop.shapes import learn

MAX_HOPS = 16
MAX_AGE = timedelta(days=29)  # the inbox forgets after 30: a later copy could have its effect twice


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Event:
    """A fact. Declare `name` and `version` on the fact, `stream` on it or on a nameless parent."""

    name: ClassVar[str] = ""
    version: ClassVar[int] = 0
    stream: ClassVar[str] = ""

    def __init_subclass__(cls, name: str = "", version: int = 0, stream: str = "") -> None:
        dataclasses.dataclass(kw_only=True, frozen=True)(cls)
        if stream:
            cls.stream = stream
        if name:
            cls.name, cls.version = name, version
            _declared[name] = cls

    @classmethod
    def context(cls) -> str:
        """The publishing context."""
        return cls.name.partition(".")[0]

    @classmethod
    def upcast(cls, version: int, facts: dict[str, Any]) -> dict[str, Any]:
        """The facts of a version as they are told now; asked for the current one too. Whoever raises `version` says how."""
        return facts


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """What travels: the fact's JSON and everything that delivery needs to know about it."""

    id: UUID
    name: str
    version: int
    stream: str
    sequence: int
    occurred_at: datetime
    hops: int
    correlation_id: str
    causation_id: str
    traceparent: str
    payload: msgspec.Raw


@dataclasses.dataclass(frozen=True)
class Handler:
    """A function of a context that runs when something happened elsewhere."""

    name: str  # "orders.resume_checkout", the key of its inbox rows
    event: type[Event]
    run: Callable[[Any], None]
    atomic: bool
    ordered: bool

    @property
    def context(self) -> str:
        return self.name.partition(".")[0]


@dataclasses.dataclass(frozen=True)
class Timer:
    """A function of a context that the engine runs again and again, in any number of processes."""

    name: str
    every: float  # seconds
    run: Callable[[], None]

    @property
    def context(self) -> str:
        return self.name.partition(".")[0]


_declared: dict[str, type[Event]] = {}
_handlers: dict[str, Handler] = {}
_timers: dict[str, Timer] = {}


def _qualified(function: Callable) -> str:
    """`contexts.orders.handlers.resume_checkout` is `orders.resume_checkout`."""
    return f"{function.__module__.split('.')[1]}.{function.__name__}"


def on(*events: type[Event], atomic: bool = True, ordered: bool = True) -> Callable:
    """Run the function for each of these events.

    atomic: in one transaction with its inbox row, so its effect happens exactly once. `atomic=False` is for a handler
    that calls out: at least once, so it has to be idempotent by business key.
    ordered: one after the other within a stream. `ordered=False` where each event stands alone.
    """

    def register(function: Callable[[Any], None]) -> Callable[[Any], None]:
        learn(*events)
        for event in events:
            run = partial(chaos.call, f"handler.{_qualified(function)}", function)
            handler = Handler(_qualified(function), event, run, atomic, ordered)
            _handlers[f"{handler.name} {event.name}"] = handler
        return function

    return register


def every(interval: timedelta) -> Callable:
    """Run the function again and again. It claims its work in the database, for it runs in every process at once."""

    def register(function: Callable[[], None]) -> Callable[[], None]:
        timer = Timer(_qualified(function), interval.total_seconds(), function)
        _timers[timer.name] = timer
        return function

    return register


def declared() -> dict[str, type[Event]]:
    """Every declared event, by name."""
    return dict(_declared)


def handlers(context: str, event: str = "") -> list[Handler]:
    """The handlers of a context, or those of them that listen to one event."""
    return [h for h in _handlers.values() if h.context == context and event in ("", h.event.name)]


def handler(name: str, event: str) -> Handler | None:
    """The handler behind an inbox row, or None where this release has none."""
    return _handlers.get(f"{name} {event}")


def timers(contexts: tuple[str, ...]) -> list[Timer]:
    """The timers of these contexts."""
    return [timer for timer in _timers.values() if timer.context in contexts]


def subscriptions() -> dict[str, list[str]]:
    """Who listens to what: event name to the sorted names of contexts that have a handler for it."""
    table: dict[str, set[str]] = {name: set() for name in _declared}
    for item in _handlers.values():
        table[item.event.name].add(item.context)
    return {name: sorted(contexts) for name, contexts in sorted(table.items())}
