"""The methods of an interface: their retry policy, and the wire format of their requests and replies."""

import inspect
from collections.abc import Callable
from typing import Any, Literal, TypeVar, dataclass_transform, get_type_hints

import msgspec

from shop.errors import DomainError, Unavailable, get_error_class

F = TypeVar("F", bound=Callable[..., Any])
RetryPolicy = Literal["read", "idempotent", "once"]
MethodCall = Callable[..., Any]  # takes the keyword arguments of one method and returns its result, so no closer type


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(msgspec.field,))
class DTO(msgspec.Struct, frozen=True, kw_only=True):
    """A value that an interface takes or returns: frozen, without methods, made of plain types."""


def _mark_retry_policy(policy: RetryPolicy) -> Callable[[F], F]:
    def mark(function: F) -> F:
        function.__dict__["__retry_policy__"] = policy
        return function

    return mark


# The method changes nothing: it may be repeated.
read = _mark_retry_policy("read")
# The method has a business key: it may be repeated, and a repeat returns the recorded outcome.
idempotent = _mark_retry_policy("idempotent")
# The method must not be repeated: no transport sends it again, and no saga calls it.
once = _mark_retry_policy("once")


class InvalidArguments(ValueError):
    """The arguments do not match the type hints; nothing was done."""


class UnreadableReply(ValueError):
    """The reply comes from a newer release and cannot be decoded. The call may have been executed."""


class Method:
    """One method of an interface, and its wire format: JSON, checked against the type hints on both sides."""

    def __init__(self, service_name: str, function: Callable[..., Any]) -> None:
        hints = get_type_hints(function)
        self.name = f"{service_name}.{function.__name__}"
        self.short_name = function.__name__
        self.retry_policy: RetryPolicy = function.__dict__["__retry_policy__"]
        self.result_decoder = msgspec.json.Decoder(hints.pop("return"))
        parameters = inspect.signature(function).parameters
        fields = [(name, hint, *_read_default(parameters[name])) for name, hint in hints.items()]
        # An unknown argument of a later release is refused, because ignoring it would change what the call means.
        # Unknown fields of a reply are ignored.
        arguments = msgspec.defstruct(function.__name__, fields, kw_only=True, forbid_unknown_fields=True)
        self.arguments_decoder = msgspec.json.Decoder(arguments)

    def serve(self, implementation: MethodCall, request: bytes) -> bytes:
        """Decode a request, call the implementation and encode its result or domain error. Raises InvalidArguments."""
        try:
            arguments = msgspec.structs.asdict(self.arguments_decoder.decode(request))
        except msgspec.DecodeError as error:
            raise InvalidArguments(str(error)) from None
        try:
            reply = Reply(value=msgspec.Raw(msgspec.json.encode(implementation(**arguments))))
        except DomainError as error:
            reply = Reply.from_error(error)
        except _outage_errors:
            return encode_unavailable(self.name)
        return msgspec.json.encode(reply)

    def receive(self, data: bytes) -> object:
        """Decode a reply: return the result, or raise the domain error as its own class. Raises UnreadableReply."""
        reply = _reply_decoder.decode(data)
        try:
            if reply.code is None:
                result: object = self.result_decoder.decode(reply.value)
                return result
            cls = get_error_class(reply.code)
            hints, facts = get_type_hints(cls), msgspec.json.decode(reply.facts)
            error = cls(**{name: msgspec.convert(fact, hints[name]) for name, fact in facts.items() if name in hints})
        except (msgspec.ValidationError, KeyError) as problem:
            raise UnreadableReply(str(problem)) from None
        raise error


def _read_default(parameter: inspect.Parameter) -> tuple[()] | tuple[object]:
    return () if parameter.default is inspect.Parameter.empty else (parameter.default,)


class Reply(msgspec.Struct, omit_defaults=True):
    """The result of a call, or the code and facts of its domain error, on the wire."""

    value: msgspec.Raw = msgspec.Raw(b"null")
    code: str | None = None
    facts: msgspec.Raw = msgspec.Raw(b"{}")

    @classmethod
    def from_error(cls, error: DomainError) -> "Reply":
        return cls(code=error.code, facts=msgspec.Raw(msgspec.json.encode(error.facts)))


_reply_decoder = msgspec.json.Decoder(Reply)


_outage_errors: tuple[type[Exception], ...] = ()


def _do_nothing() -> None:
    pass


_clean_up_after_outage: Callable[[], None] = _do_nothing


def is_outage(error: Exception) -> bool:
    """Return whether the exception means that an implementation could not be reached or could not finish."""
    return isinstance(error, _outage_errors)


def build_unavailable(name: str) -> Unavailable:
    """Build the error that callers receive in place of an outage, after the clean-up."""
    _clean_up_after_outage()
    return Unavailable(what=name)


def encode_unavailable(name: str) -> bytes:
    """Encode the reply of a method during an outage, after the clean-up."""
    return msgspec.json.encode(Reply.from_error(build_unavailable(name)))


def set_outage_errors(errors: tuple[type[Exception], ...], clean_up: Callable[[], None]) -> None:
    """Set the exceptions of an implementation that its callers receive as Unavailable.

    clean_up: called before Unavailable is raised.
    """
    global _outage_errors, _clean_up_after_outage
    _outage_errors, _clean_up_after_outage = errors, clean_up
