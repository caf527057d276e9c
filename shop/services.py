"""Service interfaces: how one context asks another, whichever process the other runs in.

    class Inventory(Protocol):
        @idempotent
        def reserve(self, *, order_id: UUID, lines: tuple[Line, ...]) -> Reservation: ...

    inventory: Inventory = service("inventory", Inventory)

`inventory.reserve(order_id=…, lines=…)` is the same text in every topology. What stands behind the name is one setting:
a dotted path, or the address of the process that hosts it. TRANSPORTS has the ways to get to a path: local, and loopback,
which is the same through the wire format. The way to an address is the remote transport (`shop.remote`).
"""

import inspect
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any, Literal, TypeVar, cast, get_type_hints

import msgspec

from shop import chaos
from shop.errors import DomainError, Unavailable, error_class
from shop.transactions import held, refuse

P = TypeVar("P")
F = TypeVar("F", bound=Callable)
Repeat = Literal["read", "idempotent", "once"]
Send = Callable[..., Any]


class DTO(msgspec.Struct, frozen=True, kw_only=True):
    """What crosses a face: frozen, without methods, plain types."""


def _repeats(as_: Repeat) -> Callable[[F], F]:
    def mark(function: F) -> F:
        function.__repeat__ = as_  # type: ignore[attr-defined]
        return function

    return mark


read = _repeats("read")  # asks only: retried freely
idempotent = _repeats("idempotent")  # has a business key: retried with it, a repeat returns the recorded outcome
once = _repeats("once")  # never sent again by a transport; never on a saga's path


class NotUnderstood(ValueError):
    """The arguments are not those that the type hints say; nothing was done."""


class Method:
    """One method of an interface, and its wire format: JSON, checked against the type hints on both sides."""

    def __init__(self, service_name: str, function: Callable) -> None:
        hints = get_type_hints(function)
        self.name = f"{service_name}.{function.__name__}"
        self.repeat: Repeat = function.__repeat__  # type: ignore[attr-defined]
        self.answer = msgspec.json.Decoder(hints.pop("return"))
        given = inspect.signature(function).parameters
        fields = [(name, hint, *_default(given[name])) for name, hint in hints.items()]
        self.arguments = msgspec.json.Decoder(msgspec.defstruct(function.__name__, fields, kw_only=True))

    def serve(self, implementation: Send, request: bytes) -> bytes:
        """The callee's side: decode, call, encode the answer or the domain error. Raises NotUnderstood."""
        try:
            arguments = msgspec.structs.asdict(self.arguments.decode(request))
        except msgspec.DecodeError as error:
            raise NotUnderstood(str(error)) from None
        try:
            reply = Reply(value=msgspec.Raw(msgspec.json.encode(implementation(**arguments))))
        except DomainError as error:
            reply = Reply.of(error)
        except _outages:
            reply = Reply.of(_unavailable(self.name))
        return msgspec.json.encode(reply)

    def receive(self, data: bytes) -> Any:
        """The caller's side: the answer, or the domain error raised as the class that it was."""
        reply = _reply.decode(data)
        if reply.code is None:
            return self.answer.decode(reply.value)
        cls = error_class(reply.code)
        hints, facts = get_type_hints(cls), msgspec.json.decode(reply.facts)
        raise cls(**{name: msgspec.convert(fact, hints[name]) for name, fact in facts.items()})


def _default(parameter: inspect.Parameter) -> tuple:
    return () if parameter.default is inspect.Parameter.empty else (parameter.default,)


class Reply(msgspec.Struct, omit_defaults=True):
    """What comes back over the wire."""

    value: msgspec.Raw = msgspec.Raw(b"null")
    code: str | None = None
    facts: msgspec.Raw = msgspec.Raw(b"{}")

    @classmethod
    def of(cls, error: DomainError) -> "Reply":
        return cls(code=error.code, facts=msgspec.Raw(msgspec.json.encode(error.facts)))


_reply = msgspec.json.Decoder(Reply)


def local(method: Method, implementation: Send) -> Send:
    """A plain call, no copy."""
    name = method.name

    def call(**arguments: Any) -> Any:
        if held.aliases:
            refuse(f"{name} was called")
        try:
            return implementation(**arguments)
        except _outages as error:
            raise _unavailable(name) from error

    return call


journal: list[Callable[[], bytes]] | None = None  # a test's idempotent calls, to be made once more at its end


def loopback(method: Method, implementation: Send) -> Send:
    """Through the wire format, in process. What may be repeated is made twice, as after a lost reply."""

    def call(**arguments: Any) -> Any:
        refuse(f"{method.name} was called")
        request = msgspec.json.encode(arguments)

        def send() -> bytes:
            return method.serve(implementation, request)

        reply = send()
        if method.repeat != "once":
            reply = send()
        if method.repeat == "idempotent" and journal is not None:
            journal.append(send)
        return method.receive(reply)

    return call


_outages: tuple[type[Exception], ...] = ()
_after_outage: Callable[[], object] = tuple  # nothing


def _unavailable(name: str) -> Unavailable:
    _after_outage()
    return Unavailable(what=name)


def on_outage(outages: tuple[type[Exception], ...], then: Callable[[], None]) -> None:
    """Say what means, in a callee, that it may or may not have happened: its caller sees Unavailable, wherever it runs."""
    global _outages, _after_outage
    _outages, _after_outage = outages, then


TRANSPORTS = {"local": local, "loopback": loopback}
_reach: list[Callable[[Method, str], Send]] = []  # the remote transport, once Django has loaded it
_bindings: dict[str, str] = {}
_transport = "local"
_services: dict[str, "_Service"] = {}


class _Service:
    """Stands for an interface until its first use, then holds one callable per method."""

    def __init__(self, name: str, protocol: type) -> None:
        self._name = name
        self._methods = [
            Method(name, function)
            for function in vars(protocol).values()
            if inspect.isfunction(function) and hasattr(function, "__repeat__")
        ]

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("_"):
            raise AttributeError(attribute)
        self._bind()
        if attribute not in self.__dict__:
            raise AttributeError(f"{self._name} has no {attribute}")
        return self.__dict__[attribute]

    def _bind(self) -> None:
        if url := address(self._name):
            for method in self._methods:
                self.__dict__[_short(method)] = reach(method, url)
            return
        served = self._served()
        for method in self._methods:
            self.__dict__[_short(method)] = TRANSPORTS[_transport](method, served[method.name])

    def _served(self) -> dict[str, Send]:
        """The implementation of each method, by the method's name."""
        module, _, name = _bindings[self._name].rpartition(".")
        implementation = getattr(import_module(module), name)
        missing = [method.name for method in self._methods if _short(method) not in vars(implementation)]
        if missing:
            raise TypeError(f"{_bindings[self._name]} does not define {', '.join(missing)} itself")
        target = implementation()
        return {m.name: partial(chaos.call, f"call.{m.name}", getattr(target, _short(m))) for m in self._methods}

    def _unbind(self) -> None:
        for method in self._methods:
            self.__dict__.pop(_short(method), None)


def _short(method: Method) -> str:
    return method.name.rpartition(".")[2]


def service(name: str, protocol: type[P]) -> P:
    """The bound name of a context's interface: the last line of its `interface.py`."""
    bound = _services[name] = _Service(name, protocol)
    return cast(P, bound)


def configure(bindings: dict[str, str], transport: str) -> None:
    """Say what stands behind each name. ValueError for what no transport can reach."""
    global _transport
    if transport not in TRANSPORTS:
        raise ValueError(f"TRANSPORT is {transport!r}; it can be {' or '.join(TRANSPORTS)}")
    _transport = transport
    _bindings.update(bindings)
    for bound in _services.values():
        bound._unbind()


def reach_by(transport: Callable[[Method, str], Send]) -> None:
    """Say how a method is called whose context another process hosts."""
    _reach[:] = [transport]


def reach(method: Method, url: str) -> Send:
    """A method of a context that is hosted at `url`."""
    return _reach[0](method, url)


def address(name: str) -> str | None:
    """Where a context's process answers, if it is another one."""
    return _bindings[name] if "://" in _bindings[name] else None


def served(names: tuple[str, ...]) -> dict[str, Callable[[bytes], bytes]]:
    """What these contexts' interfaces do with a request, by the method's name."""
    return {
        method.name: partial(method.serve, implementation)
        for name in names if name in _services
        for method, implementation in zip(_services[name]._methods, _services[name]._served().values(), strict=True)
    }  # fmt: skip


def bind_all() -> None:
    """Bind every interface now, so that an incomplete implementation fails at start and not at its first call."""
    for bound in _services.values():
        bound._bind()


def interfaces() -> dict[str, list[Method]]:
    """Every declared interface with its methods."""
    return {name: bound._methods for name, bound in _services.items()}
