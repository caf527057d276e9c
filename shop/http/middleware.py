"""Request middleware: request ids, trace, request log, and problem responses for unhandled errors."""

import re
import time
from collections.abc import Callable

import structlog
from django.http import HttpRequest, HttpResponse

from shop import security_log, sizes
from shop.calls import tracing
from shop.clients import Client
from shop.errors import Overloaded
from shop.http import problems
from shop.ids import uuid7
from shop.request_buffer import BODY_PROBLEM, NO_LENGTH, QUEUE_FULL, TIMED_OUT, TOO_LARGE

log = structlog.get_logger("shop.requests")
_ID = re.compile(rf"[A-Za-z0-9._-]{{1,{sizes.REQUEST_ID_LENGTH}}}")
_TRACEPARENT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


def choose_request_id(requested_id: str) -> str:
    """Return the id of a request: the X-Request-ID that the caller sent if it is valid, otherwise a new one."""
    return requested_id if _ID.fullmatch(requested_id) else str(uuid7())


def log_request(method: str | None, path: str, status: int, started: float) -> None:
    """Write the log entry of a request. started: `time.perf_counter()` at its beginning."""
    milliseconds = round((time.perf_counter() - started) * 1000, 1)
    log.info("request", method=method, path=path, status=status, ms=milliseconds)


class RequestContextMiddleware:
    """Give each request an id and a trace, return the id as X-Request-ID, and log the request.

    The caller's X-Request-ID and traceparent are kept if they are valid. A refused request is also in the security log.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        started = time.perf_counter()
        request_id = choose_request_id(request.headers.get("X-Request-ID", ""))
        parent = request.headers.get("traceparent", "")
        trace = tracing.Trace(
            correlation_id=request_id,
            causation_id=request_id,
            traceparent=parent if _TRACEPARENT.fullmatch(parent) else "",
            client=Client(
                address=request.META.get("REMOTE_ADDR", ""),  # set by shop/http/proxies.py
                user_agent=security_log.clean_user_agent(request.headers.get("User-Agent", "")),
            ),
        )
        with tracing.use_trace(trace, request_id=request_id):
            response = self.get_response(request)
            response.headers["X-Request-ID"] = request_id
            security_log.log_refused_response(request, response)
            log_request(request.method, request.path, response.status_code, started)
            return response

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Log an unexpected error of a view outside of DRF, and turn any error into a problem, or a page in the admin."""
        return problems.handle_request_exception(request, error)


BODY_ERRORS = {
    TIMED_OUT: problems.RequestTimeout, TOO_LARGE: problems.TooLarge, NO_LENGTH: problems.LengthRequired,
    QUEUE_FULL: Overloaded,
}  # fmt: skip


class IncompleteBodyMiddleware:
    """Respond to a request that the server has not received (408, 411, 413) or not admitted (503).

    See shop/request_buffer.py.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        problem = request.META.get(BODY_PROBLEM)
        if not problem:
            return self.get_response(request)
        return problems.handle_request_exception(request, BODY_ERRORS[problem]())
