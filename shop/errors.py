"""Domain errors: a class, a message and typed facts.

    class OutOfStock(Conflict):
        "Only {available} of {sku} left."
        sku: str
        available: int

    raise OutOfStock(sku="MUG-1", available=2)

A caller in another process receives the same class: `code` and facts cross the wire. REST clients receive them as
problem details (RFC 9457), with the first line of the docstring as the message.
"""

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Self, dataclass_transform

import msgspec

from shop.security_events import (
    AUTHZ_FAIL,
    RATE_LIMIT_EXCEEDED,
    TOKEN_FAIL,
    SecurityEvent,
)
from shop.text import format_count

_by_code: dict[str, type["DomainError"]] = {}


def _build_code(cls: type) -> str:
    """Return the error code of a class: `contexts.inventory.interface.OutOfStock` is `inventory.out_of_stock`.

    The code of a class outside the contexts begins with `shop`.
    """
    package, _, rest = cls.__module__.partition(".")
    context = rest.split(".")[0] if package == "contexts" else "shop"
    return f"{context}.{re.sub(r'(?<!^)(?=[A-Z])', '_', cls.__name__).lower()}"


class _Count(int):
    """A number in a message. Its format may say what it counts: `{number:day}`, `{number:price is|prices are}`."""

    def __format__(self, words: str) -> str:
        one, _, several = words.partition("|")
        return format_count(int(self), one, several) if words else str(int(self))


def _as_text(fact: object) -> object:
    return _Count(fact) if isinstance(fact, int) and not isinstance(fact, bool) else fact


class FieldError(msgspec.Struct, frozen=True, kw_only=True):
    """One fault of a request: where it is, a stable code, and what is wrong.

    `pointer` is a JSON Pointer (RFC 6901) into the body; `parameter` is the name of a query parameter.
    """

    code: str
    detail: str
    pointer: str | msgspec.UnsetType = msgspec.UNSET
    parameter: str | msgspec.UnsetType = msgspec.UNSET


@dataclass_transform(kw_only_default=True)
class DomainError(Exception):
    """The request could not be processed."""

    status: ClassVar[int] = 400  # of the HTTP response
    code: ClassVar[str] = "shop.domain_error"
    # What the client can do, for the page of all errors. Inherited by subclasses.
    remedy: ClassVar[str] = "Read `detail` and `facts`, and change the request."
    words: ClassVar[Mapping[str, str]] = MappingProxyType({})  # texts for values of facts in the message
    security_event: ClassVar[SecurityEvent | None] = None  # what a refusal of a request with this error is logged as
    log_reason: str = ""  # more precise than the code, for the security log only: no fact, and no response has it
    field_errors: tuple[FieldError, ...] = ()  # the faults in the body or the query
    headers: Mapping[str, str] = MappingProxyType({})  # of the HTTP response

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        dataclasses.dataclass(kw_only=True, eq=False, repr=False)(cls)
        cls.code = _build_code(cls)
        _by_code[cls.code] = cls

    @property
    def facts(self) -> dict[str, Any]:
        """Return the facts by name."""
        return {name: getattr(self, name) for name in self.list_facts()}

    @classmethod
    def list_facts(cls) -> tuple[str, ...]:
        """Return the names of the facts."""
        return tuple(field.name for field in dataclasses.fields(cls)) if dataclasses.is_dataclass(cls) else ()

    @classmethod
    def get_message(cls) -> str:
        """Return the message with the names of its facts in braces. `{count:day}` stands for `1 day` or `2 days`."""
        return (cls.__doc__ or "").strip().split("\n")[0]

    @classmethod
    def describe_message(cls, show: Callable[[str], str]) -> str:
        """Return the message with each fact as `show` shows its name."""

        def replace(found: re.Match[str]) -> str:
            name, _, words = found[1].partition(":")
            several = words.partition("|")[2] or (words and f"{words}s")
            return f"{show(name)} {several}".rstrip()

        return re.sub(r"\{([^}]+)\}", replace, cls.get_message())

    @classmethod
    def build_title(cls) -> str:
        """Return the class name as words. It is the same for every error of a code, unlike the message."""
        return re.sub(r"(?<!^)(?=[A-Z])", " ", cls.__name__).capitalize()

    @property
    def title(self) -> str:
        """Return the title of the class."""
        return self.build_title()

    def with_field_errors(self, field_errors: Iterable[FieldError]) -> Self:
        """Attach the faults of the request to this error, and return it. They are not facts: no call carries them."""
        self.field_errors = tuple(field_errors)
        return self

    def with_headers(self, headers: Mapping[str, str]) -> Self:
        """Attach headers of the HTTP response to this error, and return it. They are not facts: no call carries them."""
        self.headers = headers
        return self

    def because(self, reason: str, event: SecurityEvent | None = None) -> Self:
        """Attach a reason for the security log, and return the error. Responses do not have it.

        event: what it is logged as, if it is not that of the class.
        """
        self.log_reason = reason
        self.security_event = event or self.security_event  # type: ignore[misc]  # of this error only
        return self

    def at(self, pointer: str) -> Self:
        """Attach the place in the request's body that this error is about, and return the error."""
        return self.with_field_errors([FieldError(pointer=pointer, code=self.code, detail=str(self))])

    def __str__(self) -> str:
        texts = {name: self.words.get(str(fact), _as_text(fact)) for name, fact in self.facts.items()}
        return self.get_message().format_map(texts)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={fact!r}' for name, fact in self.facts.items())})"


def list_error_classes() -> list[type[DomainError]]:
    """Return all error classes that are loaded, sorted by code."""
    return [_by_code[code] for code in sorted(_by_code)]


def get_error_class(code: str) -> type[DomainError]:
    """Return the error class of a code. Raises KeyError for an unknown code."""
    return _by_code[code]


class Invalid(DomainError):
    """The request is not valid."""

    remedy: ClassVar[str] = "Correct the request; `errors` lists the faults. The same request will be refused again."


class Unauthenticated(DomainError):
    """Sign in first: the credentials are missing, expired or not valid."""

    remedy: ClassVar[str] = "Sign in, or refresh the access token, and send it as `Authorization: Bearer`."
    status: ClassVar[int] = 401
    security_event: ClassVar[SecurityEvent | None] = TOKEN_FAIL


class Forbidden(DomainError):
    """You are not allowed to do this."""

    remedy: ClassVar[str] = "Use an account that has the permission. Signing in again does not help."
    status: ClassVar[int] = 403
    security_event: ClassVar[SecurityEvent | None] = AUTHZ_FAIL


class NotFound(DomainError):
    """The requested resource does not exist."""

    remedy: ClassVar[str] = "Check the id or the path. A resource of another customer is reported as missing, too."
    status: ClassVar[int] = 404


class Conflict(DomainError):
    """The current state does not allow this."""

    remedy: ClassVar[str] = "Read the current state of the resource, and decide whether the request still makes sense."
    status: ClassVar[int] = 409


class PreconditionFailed(DomainError):
    """This was changed by {changed_by} at {changed_at}, after you read it. Nothing was saved."""

    remedy: ClassVar[str] = "Read the resource again, and repeat the change with its new ETag if it still makes sense."
    status: ClassVar[int] = 412
    changed_by: str = "someone"
    changed_at: str = "an unknown time"


class Unprocessable(DomainError):
    """The request is well-formed but cannot be processed."""

    remedy: ClassVar[str] = (
        "Correct the request: it is well-formed, but an object that it names is missing or does not allow it."
    )
    status: ClassVar[int] = 422


class TooManyRequests(DomainError):
    """Too many attempts; try again in {retry_after:second}."""

    remedy: ClassVar[str] = "Wait for the seconds in `Retry-After`, then try again."
    status: ClassVar[int] = 429
    security_event: ClassVar[SecurityEvent | None] = RATE_LIMIT_EXCEEDED
    retry_after: int


class Closed(Conflict):
    """{key} is closed and accepts no further operations."""

    key: str


class Unavailable(DomainError):
    """{what} did not answer: the operation may or may not have happened."""

    remedy: ClassVar[str] = (
        "Repeat the same request with the same `Idempotency-Key` after the seconds in `Retry-After`."
    )
    status: ClassVar[int] = 503
    what: str


class Overloaded(DomainError):
    """Too many requests of this kind are waiting; try again in {retry_after:second}."""

    remedy: ClassVar[str] = "Wait for the seconds in `Retry-After`, then repeat the request: nothing has happened."
    status: ClassVar[int] = 503
    retry_after: int = 1


class InTransaction(RuntimeError):
    """A call or a statement on another alias was attempted inside a database transaction.

    This is a programming error: end the transaction first, so that no lock waits for another system and no effect
    elsewhere survives a rollback.
    """
