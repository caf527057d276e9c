"""Problems: how an error leaves (RFC 9457). Every one has a stable code, and no inside leaves with it."""

from typing import Any

import msgspec
import structlog
from django.core.exceptions import BadRequest, PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from rest_framework.exceptions import APIException

from shop import tracing
from shop.errors import DomainError, Forbidden, Invalid, NotFound, Unauthenticated, Unavailable

log = structlog.get_logger(__name__)


class Problem(msgspec.Struct, kw_only=True):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    facts: dict[str, Any]
    request_id: str


class BadBody(Invalid):
    """{why}"""

    why: str


class BadQuery(Invalid):
    """{why}"""

    why: str


class TooLarge(DomainError):
    """The request is larger than this shop reads."""

    status = 413


class MethodNotAllowed(DomainError):
    """{method} is not possible here."""

    status = 405
    method: str


def problem(error: DomainError, *, status: int | None = None, **more: Any) -> HttpResponse:
    """A domain error as application/problem+json, with `more` facts, and Retry-After where waiting helps."""
    headers = {}
    status = status or error.status
    facts = error.facts | more
    if isinstance(error, Unavailable) or "retry_after" in facts:
        headers["Retry-After"] = str(facts.get("retry_after", 1))
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    body = Problem(
        type=f"https://satsuma.example/problems/{error.code}", title=error.title, status=status,
        detail=str(error), code=error.code, facts=facts, request_id=tracing.current().causation_id,
    )  # fmt: skip
    content = msgspec.json.encode(body)
    return HttpResponse(content, status=status, content_type="application/problem+json", headers=headers)


def handle(error: Exception, context: Any = None) -> HttpResponse:
    """DRF's exception handler, and the site's: every error leaves as a problem, and no inside leaves with it."""
    return problem(as_domain_error(error))


class InternalError(DomainError):
    """Something went wrong on our side; the request id finds it in the log."""

    status = 500


def as_domain_error(error: Exception) -> DomainError:
    """The domain error that says to a client what any exception means."""
    if isinstance(error, DomainError):
        return error
    if isinstance(error, OperationalError | InterfaceError):
        log.warning("database_unavailable", error=str(error))
        return Unavailable(what="The database")
    if isinstance(error, RequestDataTooBig):
        return TooLarge()
    if isinstance(error, Http404):
        return NotFound()
    if isinstance(error, PermissionDenied):
        return Forbidden()
    if isinstance(error, SuspiciousOperation | BadRequest):
        return Invalid()
    if isinstance(error, APIException):
        return _from_drf(error)
    log.exception("request_failed", exc_info=error)
    return InternalError()


def _from_drf(error: APIException) -> DomainError:
    if error.status_code == MethodNotAllowed.status:
        return MethodNotAllowed(method=str(error.detail).split('"')[1])
    known = {401: Unauthenticated, 403: Forbidden, 404: NotFound}.get(error.status_code)
    return known() if known else BadBody(why=str(error.detail))


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return problem(NotFound())


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return handle(exception or BadRequest())


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return problem(Forbidden())


def server_error(request: HttpRequest) -> HttpResponse:
    return problem(InternalError())
