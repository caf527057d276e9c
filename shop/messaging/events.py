"""Events of contexts, the handlers that subscribe to them, and timers.

class OrderEvent(Event, stream="orders.order:{order_id}"):
    order_id: UUID

class OrderConfirmed(OrderEvent, name="orders.order_confirmed", version=1):
    total: Money

@on(OrderConfirmed)
def email_receipt(event): ...
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar, dataclass_transform
from uuid import UUID

import msgspec

from shop import chaos
from shop.calls.tracing import Trace
from shop.decoders import warm_up_decoders

MAX_HOPS = 16
MAX_REPLAY_AGE = timedelta(days=28)  # a parked delivery can be replayed until then, and arrives before MAX_EVENT_AGE
MAX_EVENT_AGE = timedelta(days=29)  # inbox rows are kept for 30: a later copy could have its effect a second time

EventHandler = TypeVar("EventHandler", bound=Callable[..., None])
TimerFunction = TypeVar("TimerFunction", bound=Callable[[], None])


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Event:
    """Base class of events. Declare `name` and `version` on the event, `stream` on it or on a base class without a name."""

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
        """Return the name of the publishing context."""
        return cls.name.partition(".")[0]

    @classmethod
    def upcast(cls, version: int, payload: dict[str, Any]) -> dict[str, Any]:
        """Convert the payload of an older version to the current one. Override it when you raise `version`.

        It is called for payloads of the current version too.
        """
        return payload


class Envelope(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An event in transit: its JSON payload and the metadata that delivery needs.

    was_parked: the event was parked at its publisher and replayed, so later ones of its stream may have come before it.
    is_repeated: an earlier delivery was not acknowledged; its handler may be what killed the subscriber.
    """

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
    was_parked: bool = False
    is_repeated: bool = False


E = TypeVar("E", bound=Event)


class Received(NamedTuple, Generic[E]):
    """One of several events that are handled together, and the trace that continues with it."""

    event: E
    trace: Trace


ManyHandler = Callable[[Sequence[Received[Any]]], object]  # of any event


@dataclasses.dataclass(frozen=True)
class Handler:
    """A function of a context that runs for each event of one class.

    run_many: handles several events, of different streams, with the effect that `run` has for each of them.
    """

    name: str  # "orders.resume_checkout", stored in its inbox rows
    event: type[Event]
    run: Callable[[Event], object]
    atomic: bool
    ordered: bool
    run_many: ManyHandler | None = None

    @property
    def context(self) -> str:
        return self.name.partition(".")[0]

    def decode(self, envelope: Mapping[str, Any]) -> Event:
        """Return the event of an envelope with a decoded payload. Raises msgspec.ValidationError."""
        payload = self.event.upcast(envelope["version"], envelope["payload"])
        event: Event = msgspec.convert(payload, type=self.event, strict=False)
        return event


def build_trace(envelope: Mapping[str, Any]) -> Trace:
    """Return the trace that continues with the event of an envelope."""
    return Trace(
        correlation_id=envelope["correlation_id"],
        causation_id=str(envelope["id"]),
        traceparent=envelope["traceparent"],
        hops=envelope["hops"] + 1,
    )


@dataclasses.dataclass(frozen=True)
class Timer:
    """A function of a context that the engine runs at an interval, in any number of processes."""

    name: str
    interval_seconds: float
    run: Callable[[], None]

    @property
    def context(self) -> str:
        return self.name.partition(".")[0]


_declared: dict[str, type[Event]] = {}
_handlers: dict[str, Handler] = {}
_timers: dict[str, Timer] = {}


def _build_qualified_name(function: Callable[..., object]) -> str:
    """Return `orders.resume_checkout` for `contexts.orders.handlers.resume_checkout`."""
    return f"{function.__module__.split('.')[1]}.{function.__name__}"


def on(
    *events: type[Event], atomic: bool = True, ordered: bool = True, many: ManyHandler | None = None
) -> Callable[[EventHandler], EventHandler]:
    """Run the function for each of these events.

    atomic: run in one transaction with the inbox row, so that the effect happens exactly once. Use `atomic=False` for a
    handler that calls out: it runs at least once, so it has to be idempotent by business key.
    ordered: handle the events of a stream one after the other. Use `ordered=False` where their order does not matter.
    many: handles a batch of these events in few statements, with the same effect as the function has for each of them. It
    is called with one event of a stream at a time, locks rows in sorted order, and publishes with the trace of each event.
    """
    if many and not atomic:
        raise TypeError("only an atomic handler can handle many events in one transaction")

    def register(function: EventHandler) -> EventHandler:
        warm_up_decoders(*events)
        for event in events:
            name = _build_qualified_name(function)
            run = partial(chaos.call_with_points, f"handler.{name}", function)
            run_many = many and partial(chaos.call_with_points, f"handler.{name}", many)
            handler = Handler(name, event, run, atomic, ordered, run_many)
            _handlers[f"{handler.name} {event.name}"] = handler
        return function

    return register


def every(interval: timedelta) -> Callable[[TimerFunction], TimerFunction]:
    """Run the function at an interval. It runs in every process, so it has to claim its work in the database."""

    def register(function: TimerFunction) -> TimerFunction:
        timer = Timer(_build_qualified_name(function), interval.total_seconds(), function)
        _timers[timer.name] = timer
        return function

    return register


def get_declared_events() -> dict[str, type[Event]]:
    """Return every declared event by name."""
    return dict(_declared)


def list_handlers(context: str, event: str = "") -> list[Handler]:
    """List the handlers of a context, or those that subscribe to one event."""
    return [h for h in _handlers.values() if h.context == context and event in ("", h.event.name)]


def find_handler(name: str, event: str) -> Handler | None:
    """Find the handler of an inbox row. Returns None if this release does not have it."""
    return _handlers.get(f"{name} {event}")


def list_timers(contexts: tuple[str, ...]) -> list[Timer]:
    """List the timers of these contexts."""
    return [timer for timer in _timers.values() if timer.context in contexts]


def build_subscriptions() -> dict[str, list[str]]:
    """Map each event name to the sorted names of the contexts that have a handler for it."""
    table: dict[str, set[str]] = {name: set() for name in _declared}
    for item in _handlers.values():
        table[item.event.name].add(item.context)
    return {name: sorted(contexts) for name, contexts in sorted(table.items())}
