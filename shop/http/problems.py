"""Problem details (RFC 9457): turn every error into a response with a stable code and without internal details."""

from collections.abc import Mapping
from typing import Any

import msgspec
import structlog
from django.conf import settings
from django.core.exceptions import (
    BadRequest,
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
    TooManyFilesSent,
)
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from rest_framework.exceptions import APIException

from shop.calls import tracing
from shop.errors import (
    DomainError,
    FieldError,
    Forbidden,
    Invalid,
    NotFound,
    Unauthenticated,
    Unavailable,
    Unprocessable,
)
from shop.http.error_pages import is_admin_path, render_error_page
from shop.http.uploads import UploadNotAccepted
from shop.security_events import BODY_REFUSED, UPLOAD_REFUSED

log = structlog.get_logger(__name__)


class Problem(msgspec.Struct, kw_only=True):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    facts: dict[str, Any]  # msgspec has no schema for object
    request_id: str
    errors: list[FieldError] | msgspec.UnsetType = msgspec.UNSET  # every fault of the body or the query


class BadBody(Invalid):
    """{why}

    The body of the request is not valid. `errors` names every fault with its place.
    """

    why: str


class CardNumberRefused(Unprocessable):
    """A text contains the number of a payment card. It was not stored.

    Card numbers belong into the form of the payment provider alone. `errors` names the place.
    """

    remedy = "Remove the number. Enter it only in the form of the payment provider, and send the token that it returns."


class BadQuery(Invalid):
    """{why}

    The query of the request is not valid. `errors` names every fault with its parameter.
    """

    why: str


class FormRefused(Forbidden):
    """The form has expired, or did not come from this site."""

    remedy = "Open the page again and repeat the change. The browser has to accept cookies of this site."


class TooLarge(DomainError):
    """The request body is too large."""

    remedy = "Send less in one request: divide it into several. Unless the shop sets another limit, it is 1 MB."
    status = 413
    security_event = BODY_REFUSED


class UnexpectedFile(Invalid):
    """Files are not accepted here."""

    remedy = "Send the form without files."
    security_event = UPLOAD_REFUSED


class RequestTimeout(DomainError):
    """The request body did not arrive in time."""

    remedy = "Repeat the request, and send the whole body without pauses."
    status = 408
    security_event = BODY_REFUSED


class LengthRequired(DomainError):
    """A request body needs the header Content-Length."""

    remedy = "Send `Content-Length`. A body in chunks (`Transfer-Encoding: chunked`) is not accepted."
    status = 411
    security_event = BODY_REFUSED


class MethodNotAllowed(DomainError):
    """The method {method} is not allowed here."""

    remedy = "Use one of the methods in the header `Allow`."
    status = 405
    method: str


class InternalError(DomainError):
    """An internal error occurred. The request id identifies it in the server log."""

    remedy = "Repeat the request once with the same `Idempotency-Key`; then report the `request_id` to the shop."
    status = 500


def build_problem_response(error: DomainError, *, status: int | None = None, **extra_facts: object) -> HttpResponse:
    """Build the problem response of a domain error, with Retry-After if a retry can succeed."""
    headers = dict(error.headers)
    status = status or error.status
    facts = error.facts | extra_facts
    if isinstance(error, Unavailable) or "retry_after" in facts:
        headers["Retry-After"] = str(facts.get("retry_after", 1))
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    body = Problem(
        type=f"{settings.SITE_URL}/api/docs/errors#{error.code}",
        title=error.title,
        status=status,
        detail=str(error),
        code=error.code,
        facts=facts,
        request_id=tracing.get_current_trace().causation_id,
        errors=list(error.field_errors) or msgspec.UNSET,
    )
    content = msgspec.json.encode(body)
    response = HttpResponse(content, status=status, content_type="application/problem+json", headers=headers)
    response.refusal = error  # type: ignore[attr-defined]  # for the security log
    return response


def handle_exception(error: Exception, context: Mapping[str, object] | None = None) -> HttpResponse:
    """Build the problem response of any exception. Set as DRF's exception handler."""
    return build_problem_response(as_domain_error(error))


def as_domain_error(error: Exception) -> DomainError:
    """Convert any exception to the domain error that a client may see."""
    if isinstance(error, DomainError):
        return error
    if isinstance(error, OperationalError | InterfaceError):
        log.warning("database_unavailable", error=str(error))
        return Unavailable(what="The database")
    if isinstance(error, RequestDataTooBig):
        return TooLarge()
    if isinstance(error, UploadNotAccepted | TooManyFilesSent):
        return UnexpectedFile()
    if isinstance(error, Http404):
        return NotFound()
    if isinstance(error, PermissionDenied):
        return Forbidden()
    if isinstance(error, SuspiciousOperation | BadRequest):
        return Invalid()
    if isinstance(error, APIException):
        return _convert_drf_error(error)
    log.exception("request_failed", exc_info=error)
    return InternalError()


def _convert_drf_error(error: APIException) -> DomainError:
    if error.status_code == MethodNotAllowed.status:
        return MethodNotAllowed(method=str(error.detail).split('"')[1])
    known = {401: Unauthenticated, 403: Forbidden, 404: NotFound}.get(error.status_code)
    return known() if known else BadBody(why=str(error.detail))


def handle_request_exception(request: HttpRequest, error: Exception) -> HttpResponse:
    """Respond to an error of a view: with a page in the admin, else with a problem."""
    return _respond(request, as_domain_error(error))


def _respond(request: HttpRequest, error: DomainError) -> HttpResponse:
    return render_error_page(error) if is_admin_path(request.path) else build_problem_response(error)


# Django's handler400, handler403, handler404 and handler500.


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return _respond(request, NotFound())


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return handle_request_exception(request, exception or BadRequest())


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return _respond(request, Forbidden())


def refuse_form(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Respond to a form without a valid CSRF token (CSRF_FAILURE_VIEW)."""
    return _respond(request, FormRefused())


def server_error(request: HttpRequest) -> HttpResponse:
    return _respond(request, InternalError())
