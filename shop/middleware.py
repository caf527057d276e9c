"""The edge of every request: its ids in and out, its line in the log, its last resort for errors."""

import re
import time
from collections.abc import Callable

import structlog
from django.http import HttpRequest, HttpResponse

from shop import problems, tracing
from shop.ids import uuid7

log = structlog.get_logger("shop.requests")
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TRACEPARENT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


class Story:
    """Gives each request an id (the caller's X-Request-ID where it is a plain one) and answers with it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        began = time.perf_counter()
        given = request.headers.get("X-Request-ID", "")
        identifier = given if _ID.fullmatch(given) else str(uuid7())
        parent = request.headers.get("traceparent", "")
        trace = tracing.Trace(
            correlation_id=identifier,
            causation_id=identifier,
            traceparent=parent if _TRACEPARENT.fullmatch(parent) else "",
        )
        with tracing.following(trace), structlog.contextvars.bound_contextvars(request_id=identifier):
            response = self.get_response(request)
            response.headers["X-Request-ID"] = identifier
            took = round((time.perf_counter() - began) * 1000, 1)
            log.info("request", method=request.method, path=request.path, status=response.status_code, ms=took)
            return response

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """What a view outside of DRF raised, except in the admin, whose pages show their own errors."""
        return None if request.path.startswith("/admin") else problems.handle(error)
