"""The errors of an operation in the OpenAPI document: for each status the codes, what they mean, and an example."""

import re
from collections.abc import Iterable, Sequence
from typing import Any, get_type_hints
from uuid import UUID

from django.conf import settings

from shop.errors import DomainError, NotFound, TooManyRequests, Unauthenticated, Unavailable
from shop.http.idempotency import (
    IdempotencyKeyInFlight,
    IdempotencyKeyInvalid,
    IdempotencyKeyMissing,
    IdempotencyKeyReused,
)
from shop.http.json_schemas import REF_TEMPLATE
from shop.http.problems import BadBody, BadQuery, CardNumberRefused, TooLarge

MEDIA_TYPE = "application/problem+json"
# An error, or an error with another status than its own.
DeclaredError = type[DomainError] | tuple[type[DomainError], int]
KEY_ERRORS = (IdempotencyKeyInvalid, IdempotencyKeyReused, IdempotencyKeyInFlight)
SAMPLE_FACTS: dict[Any, object] = {int: 1, bool: True, UUID: "01a22aa2-3c3c-7de0-b23d-fba229a1e7d5"}
RETRY_AFTER = {"description": "Seconds to wait before the next attempt.", "schema": {"type": "integer", "minimum": 0}}
CHALLENGE = {"description": "The authentication scheme (RFC 6750).", "schema": {"type": "string"}}


def list_general_errors(
    *, reads_body: bool, reads_query: bool, uses_key: bool, requires_key: bool, is_limited: bool
) -> list[DeclaredError]:
    """Return the errors that follow from what an operation reads, so that no operation has to declare them."""
    errors: list[DeclaredError] = [Unavailable]
    errors += [BadBody, CardNumberRefused, TooLarge] if reads_body else []
    errors += [BadQuery] if reads_query else []
    errors += KEY_ERRORS if uses_key else ()
    errors += [IdempotencyKeyMissing] if requires_key else []
    errors += [TooManyRequests] if is_limited else []
    return errors


def list_access_errors(*, may_sign_in: bool, has_path_parameters: bool) -> list[DeclaredError]:
    """Return the errors that follow from the route: of the access token, and of a path that names nothing."""
    return [*([Unauthenticated] if may_sign_in else []), *([NotFound] if has_path_parameters else [])]


def group_by_status(errors: Iterable[DeclaredError]) -> dict[int, list[type[DomainError]]]:
    """Return the error classes of each status, sorted by status and code."""
    found: dict[int, dict[str, type[DomainError]]] = {}
    for declared in errors:
        cls, status = declared if isinstance(declared, tuple) else (declared, declared.status)
        found.setdefault(status, {})[cls.code] = cls
    return {status: [classes[code] for code in sorted(classes)] for status, classes in sorted(found.items())}


def build_responses(errors: Iterable[DeclaredError]) -> dict[str, dict[str, Any]]:
    """Build the responses of an operation for these errors, by status."""
    return {str(status): _build_response(status, classes) for status, classes in group_by_status(errors).items()}


def _build_response(status: int, classes: Sequence[type[DomainError]]) -> dict[str, Any]:
    code = {"type": "string", "enum": [cls.code for cls in classes]}
    codes = {"type": "object", "properties": {"code": code}, "required": ["code"]}
    content = {
        "schema": {"allOf": [{"$ref": REF_TEMPLATE.format(name="Problem")}, codes]},
        "examples": {cls.code: {"value": _build_example(cls, status)} for cls in classes},
    }
    response = {
        "description": "\n".join(f"- `{cls.code}`: {_describe(cls)}" for cls in classes),
        "content": {MEDIA_TYPE: content},
    }
    headers = {
        401: {"WWW-Authenticate": CHALLENGE},
        429: {"Retry-After": RETRY_AFTER},
        503: {"Retry-After": RETRY_AFTER},
    }
    return response | ({"headers": headers[status]} if status in headers else {})


def _describe(cls: type[DomainError]) -> str:
    """Return the message of an error, with the names of its facts in it."""
    return cls.describe_message("<{}>".format)


def _build_example(cls: type[DomainError], status: int) -> dict[str, Any]:
    hints = get_type_hints(cls)
    facts = {name: SAMPLE_FACTS.get(hints[name], f"<{name}>") for name in cls.list_facts()}
    message = (cls.__doc__ or "").strip().split("\n")[0]
    return {
        "type": f"{settings.SITE_URL}/api/docs/errors#{cls.code}",
        "title": cls.build_title(),
        "status": status,
        "detail": re.sub(r"\{(\w+)\}", lambda fact: str(facts.get(fact[1])), message),
        "code": cls.code,
        "facts": facts,
        "request_id": "01a22aa2-3c3c-7de0-b23d-fba229a1e7d5",
    }
