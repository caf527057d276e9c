"""Service interfaces: how one context calls another, in the same process or in another one.

    class Inventory(Protocol):
        @idempotent
        def reserve(self, *, order_id: UUID, lines: tuple[Line, ...]) -> Reservation: ...

    inventory: Inventory = service("inventory", Inventory)

`inventory.reserve(order_id=…, lines=…)` is the same text in every topology. One setting binds the name: the dotted path
of an implementation, or the URL of the process that hosts it. An implementation is called by one of TRANSPORTS: `local` is
a plain call, `loopback` goes through the wire format. A URL is called by the remote transport (`shop.calls.remote`).
"""

import inspect
import sys
from collections import deque
from collections.abc import Callable
from functools import partial
from importlib import import_module
from time import perf_counter
from typing import TypeVar, cast

import msgspec

from shop import chaos
from shop.calls.methods import DTO as DTO
from shop.calls.methods import Method, MethodCall, build_unavailable, is_outage
from shop.calls.methods import idempotent as idempotent
from shop.calls.methods import once as once
from shop.calls.methods import read as read
from shop.db.transactions import assert_no_open_transaction, transaction_state
from shop.errors import DomainError, Unavailable

P = TypeVar("P")

# The latest calls of this process, until `shop.calls.call_metrics` counts them: the caller's module, the method, the
# seconds and whether it failed. Outages and unexpected exceptions are failures; domain errors are results.
call_log: deque[tuple[str, str, float, bool]] = deque(maxlen=50_000)
_get_frame = sys._getframe


def bind_local(method: Method, implementation: MethodCall) -> MethodCall:
    """Return a callable that calls the implementation directly, without copying arguments or result."""
    name, record = method.name, call_log.append

    def call(**arguments: object) -> object:
        if transaction_state.open_aliases:
            assert_no_open_transaction(f"{name} was called")
        began = perf_counter()
        try:
            result = implementation(**arguments)
        except Exception as error:
            record((_get_frame(1).f_globals["__name__"], name, perf_counter() - began, _is_failure(error)))
            if is_outage(error):
                raise build_unavailable(name) from error
            raise
        record((_get_frame(1).f_globals["__name__"], name, perf_counter() - began, False))
        return result

    return call


def _is_failure(error: Exception) -> bool:
    return isinstance(error, Unavailable) or not isinstance(error, DomainError)


def record_calls(method: Method, send: MethodCall) -> MethodCall:
    """Wrap `send` so that its calls are logged, and refused in a transaction, like those of `bind_local`."""

    def call(**arguments: object) -> object:
        assert_no_open_transaction(f"{method.name} was called")
        began, failed = perf_counter(), False
        try:
            return send(**arguments)
        except Exception as error:
            failed = _is_failure(error)
            raise
        finally:
            call_log.append((_get_frame(1).f_globals["__name__"], method.name, perf_counter() - began, failed))

    return call


# Idempotent calls of the current test; the test repeats them at its end. None outside of tests: nothing is recorded.
idempotent_calls: list[Callable[[], object]] | None = None


def bind_loopback(method: Method, implementation: MethodCall) -> MethodCall:
    """Return a callable that calls the implementation through the wire format, in this process.

    A call that may be repeated is made twice and the second reply is returned, as after a lost reply.
    """

    def call(**arguments: object) -> object:
        request = msgspec.json.encode(arguments)

        def send() -> bytes:
            return method.serve(implementation, request)

        reply = send()
        if method.retry_policy != "once":
            reply = send()
        if method.retry_policy == "idempotent" and idempotent_calls is not None:
            idempotent_calls.append(send)
        return method.receive(reply)

    return record_calls(method, call)


TRANSPORTS = {"local": bind_local, "loopback": bind_loopback}
_remote_transport: list[Callable[[Method, str], MethodCall]] = []  # one, set when Django has loaded the kernel
_bindings: dict[str, str] = {}
_transport = "local"
_services: dict[str, "_BoundService"] = {}


class _BoundService:
    """The object behind a bound name. Its first use adds one callable per method to it."""

    def __init__(self, name: str, protocol: type) -> None:
        self._name = name
        self._methods = [
            Method(name, function)
            for function in vars(protocol).values()
            if inspect.isfunction(function) and "__retry_policy__" in function.__dict__
        ]

    def __getattr__(self, attribute: str) -> object:
        if attribute.startswith("_"):
            raise AttributeError(attribute)
        self._bind()
        if attribute not in self.__dict__:
            raise AttributeError(f"the interface {self._name} has no method {attribute}")
        return self.__dict__[attribute]

    def _bind(self) -> None:
        if url := get_remote_url(self._name):
            for method in self._methods:
                self.__dict__[method.short_name] = bind_remote(method, url)
            return
        implementations = self._load_implementations()
        for method in self._methods:
            self.__dict__[method.short_name] = TRANSPORTS[_transport](method, implementations[method.name])

    def _load_implementations(self) -> dict[str, MethodCall]:
        """Return the implementation of each method by the method's name. Raises TypeError if one is not defined."""
        module, _, name = _bindings[self._name].rpartition(".")
        cls = getattr(import_module(module), name)
        missing = [method.name for method in self._methods if method.short_name not in vars(cls)]
        if missing:
            raise TypeError(f"{_bindings[self._name]} does not define {', '.join(missing)} itself")
        target = cls()
        return {
            method.name: partial(chaos.call_with_points, f"call.{method.name}", getattr(target, method.short_name))
            for method in self._methods
        }

    def _unbind(self) -> None:
        for method in self._methods:
            self.__dict__.pop(method.short_name, None)


def service(name: str, protocol: type[P]) -> P:
    """Return the bound name of a context's interface: the last line of its `interface.py`."""
    bound = _services[name] = _BoundService(name, protocol)
    return cast(P, bound)


def configure(bindings: dict[str, str], transport: str) -> None:
    """Bind names to dotted paths or URLs, and choose the transport of paths. Raises ValueError for an unknown one."""
    global _transport
    if transport not in TRANSPORTS:
        raise ValueError(f"TRANSPORT is {transport!r}; it can be {' or '.join(TRANSPORTS)}")
    _transport = transport
    _bindings.update(bindings)
    for bound in _services.values():
        bound._unbind()


def set_remote_transport(transport: Callable[[Method, str], MethodCall]) -> None:
    """Set the function that binds a method to the URL of another process."""
    _remote_transport[:] = [transport]


def bind_remote(method: Method, url: str) -> MethodCall:
    """Return a callable that calls a method of a context hosted at `url`."""
    return _remote_transport[0](method, url)


def get_remote_url(name: str) -> str | None:
    """Return the URL of the process that hosts a context, or None if this process hosts it."""
    return _bindings[name] if "://" in _bindings[name] else None


def get_served_methods(names: tuple[str, ...]) -> dict[str, Callable[[bytes], bytes]]:
    """Return the functions that serve encoded requests to these contexts' interfaces, by the method's name."""
    return {
        method.name: partial(method.serve, implementation)
        for bound in (_services[name] for name in names if name in _services)
        for method, implementation in zip(bound._methods, bound._load_implementations().values(), strict=True)
    }


def bind_all() -> None:
    """Bind every interface now, so that an incomplete implementation fails at start instead of at its first call."""
    for bound in _services.values():
        bound._bind()


def get_interfaces() -> dict[str, list[Method]]:
    """Return the methods of every declared interface, by its name."""
    return {name: bound._methods for name, bound in _services.items()}
