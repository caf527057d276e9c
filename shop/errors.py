"""Domain errors: a class, a sentence and its facts.

    class OutOfStock(Conflict):
        "Only {available} of {sku} left."
        sku: str
        available: int

    raise OutOfStock(sku="MUG-1", available=2)

The same class arrives wherever the call was made from: only `code` and facts cross the wire (RFC 9457 at the edge).
"""

import dataclasses
import re
from typing import Any, ClassVar, dataclass_transform

_by_code: dict[str, type["DomainError"]] = {}


def _code(cls: type) -> str:
    """`contexts.inventory.interface.OutOfStock` is `inventory.out_of_stock`; the kernel's own are `shop.…`."""
    package, _, rest = cls.__module__.partition(".")
    context = rest.split(".")[0] if package == "contexts" else "shop"
    return f"{context}.{re.sub(r'(?<!^)(?=[A-Z])', '_', cls.__name__).lower()}"


@dataclass_transform(kw_only_default=True)
class DomainError(Exception):
    """The request could not be carried out."""

    status: ClassVar[int] = 400  # what an HTTP edge answers
    code: ClassVar[str] = "shop.domain_error"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        dataclasses.dataclass(kw_only=True, eq=False, repr=False)(cls)
        cls.code = _code(cls)
        _by_code[cls.code] = cls

    @property
    def facts(self) -> dict[str, Any]:
        """The typed facts, by name."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}  # type: ignore[arg-type]

    @property
    def title(self) -> str:
        """The class name as words: stable for a code, unlike the sentence."""
        return re.sub(r"(?<!^)(?=[A-Z])", " ", type(self).__name__).capitalize()

    def __str__(self) -> str:
        return (type(self).__doc__ or "").strip().split("\n")[0].format_map(self.facts)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={fact!r}' for name, fact in self.facts.items())})"


def error_class(code: str) -> type[DomainError]:
    """The class behind a code that came over the wire. KeyError for an unknown one."""
    return _by_code[code]


class Invalid(DomainError):
    """The request is not valid."""


class Unauthenticated(DomainError):
    """Sign in first: the credentials are missing, expired or not valid."""

    status: ClassVar[int] = 401


class Forbidden(DomainError):
    """You are not allowed to do this."""

    status: ClassVar[int] = 403


class NotFound(DomainError):
    """There is no such thing here."""

    status: ClassVar[int] = 404


class Conflict(DomainError):
    """The present state does not allow this."""

    status: ClassVar[int] = 409


class Unprocessable(DomainError):
    """Well-formed, but it cannot be carried out as it stands."""

    status: ClassVar[int] = 422


class TooManyRequests(DomainError):
    """Too many attempts; try again in {retry_after} seconds."""

    status: ClassVar[int] = 429
    retry_after: int


class Closed(Conflict):
    """{key} was closed before; nothing more happens under it."""

    key: str


class Unavailable(DomainError):
    """{what} did not answer: it may or may not have happened."""

    status: ClassVar[int] = 503
    what: str


class InTransaction(RuntimeError):
    """A call left the context while a database transaction was open. Programming error: close the transaction first,
    so that no lock waits for somebody else's answer and no effect outlives a rollback."""
