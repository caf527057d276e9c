"""Answer repeated GET requests before Django does.

A view marks a response whose content can be refreshed without a request (`mark_repeatable`). `RepeatedRequests`, the WSGI
application in front of Django, keeps the head of a marked response, exactly as the middleware and the view have made it. It
answers later requests that differ in nothing a response depends on with this head and the refreshed content. All others take
the whole way through Django: other methods, requests with a header that is not listed here, responses that no view has marked,
content that has to be rendered again, and everything while the database is not available.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol, cast
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from django.core.handlers.wsgi import get_path_info
from django.core.wsgi import get_wsgi_application
from django.db import connections
from django.http import HttpRequest, HttpResponse
from django.utils.cache import get_conditional_response
from structlog.contextvars import bound_contextvars

from shop.db.database import OUTAGE_ERRORS
from shop.http.middleware import choose_request_id, log_request
from shop.http.proxies import is_trusted
from shop.request_buffer import BODY_PROBLEM

METHODS = ("GET", "HEAD")
MAX_RECORDED_REQUESTS = 20_000  # per process, about 1 kB each
MAX_KEY_CHARACTERS = 1_000  # of the target and the origin; a longer request is not recorded

# Headers that a marked response depends on: they are part of the key, or are applied to each request.
USED_HEADERS = {
    "HTTP_HOST", "HTTP_ORIGIN", "HTTP_X_FORWARDED_PROTO",
    "HTTP_X_REQUEST_ID", "HTTP_IF_NONE_MATCH", "HTTP_IF_MODIFIED_SINCE",
}  # fmt: skip
# Headers that no response to GET depends on.
IGNORED_HEADERS = {
    "HTTP_ACCEPT", "HTTP_ACCEPT_ENCODING", "HTTP_ACCEPT_LANGUAGE", "HTTP_CACHE_CONTROL", "HTTP_CONNECTION", "HTTP_DNT",
    "HTTP_FORWARDED", "HTTP_PRAGMA", "HTTP_PRIORITY", "HTTP_REFERER", "HTTP_SEC_CH_UA", "HTTP_SEC_CH_UA_MOBILE",
    "HTTP_SEC_CH_UA_PLATFORM", "HTTP_SEC_FETCH_DEST", "HTTP_SEC_FETCH_MODE", "HTTP_SEC_FETCH_SITE", "HTTP_SEC_FETCH_USER",
    "HTTP_SEC_GPC", "HTTP_TRACEPARENT", "HTTP_TRACESTATE", "HTTP_UPGRADE_INSECURE_REQUESTS", "HTTP_USER_AGENT", "HTTP_VIA",
    "HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_HOST", "HTTP_X_FORWARDED_PORT", "HTTP_X_REAL_IP",
}  # fmt: skip
_HEADERS = USED_HEADERS | IGNORED_HEADERS
VARYING_HEADERS = ("X-Request-ID", "ETag", "Content-Length")
_MARK = "repeatable_source"


class Content(Protocol):
    """The content of a response, and its ETag."""

    @property
    def content(self) -> bytes: ...
    @property
    def etag(self) -> str: ...


Refresh = Callable[[], Content | None]


class Key(NamedTuple):
    """The parts of a request on which the head and the content of a marked response depend."""

    method: str
    scheme: str
    forwarded_scheme: str | None  # of a trusted proxy
    host: str
    origin: str
    path: str  # as in the environment
    query: str


class Source(NamedTuple):
    """How the content of a marked response is refreshed, and the database that it reads."""

    alias: str
    refresh: Refresh

    def read(self) -> Content | None:
        """Return the present content. None if Django has to respond.

        The connection returns to its pool, as after each request of Django.
        """
        try:
            return self.refresh()
        except OUTAGE_ERRORS:
            return None  # Django tries again, and responds with the problem
        finally:
            connections[self.alias].close_if_unusable_or_obsolete()


class _Head:
    """Status and headers of a response, without the values that differ between responses to the same request."""

    def __init__(self, status: str, headers: tuple[tuple[str, str], ...]) -> None:
        self.status, self.headers = status, headers
        places = {name: place for place, (name, _) in enumerate(headers)}
        self.request_id, self.etag, self.length = (places[name] for name in VARYING_HEADERS)

    def build_headers(self, request_id: str, etag: str, length: int) -> list[tuple[str, str]]:
        headers = list(self.headers)
        headers[self.request_id] = "X-Request-ID", request_id
        headers[self.etag] = "ETag", etag
        headers[self.length] = "Content-Length", str(length)
        return headers


class _RecordedRequest:
    """A request whose response was marked: how to refresh the content, and a head for each status."""

    def __init__(self, path: str, source: Source) -> None:
        self.path = path  # decoded, for the log
        self.source = source
        self.heads: dict[int, _Head] = {}


class _Conditions:
    """The parts of a request that `get_conditional_response` reads."""

    def __init__(self, environ: WSGIEnvironment) -> None:
        self.META = environ
        self.method = environ["REQUEST_METHOD"]


def mark_repeatable(response: HttpResponse, alias: str, refresh: Refresh) -> None:
    """Allow to repeat a response to GET or HEAD without Django. Its head must depend on nothing but `Key` and ETag.

    refresh: returns the present content, or None if the view has to build it. Runs without a request, in any thread, and reads
    no database but `alias`.
    """
    setattr(response, _MARK, Source(alias, refresh))


class RepeatedRequests:
    """A WSGI application that answers repeated requests itself and passes all others on."""

    def __init__(self, application: WSGIApplication) -> None:
        self.application = application
        self.recorded: dict[Key, _RecordedRequest] = {}
        self.heads: dict[tuple[str, tuple[tuple[str, str], ...]], _Head] = {}  # most requests share a few

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        key = build_key(environ)
        if key is None:
            return self.application(environ, start_response)
        recorded = self.recorded.get(key)
        response = _repeat(recorded, environ, start_response) if recorded else None
        return self._record(key, environ, start_response) if response is None else response

    def _record(self, key: Key, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Let Django respond, and keep the head of its response if a view has marked it."""
        heads: list[tuple[str, list[tuple[str, str]]]] = []

        def record_head(status: str, headers: list[tuple[str, str]], *exception: Any) -> Any:
            heads.append((status, headers))
            return start_response(status, headers, *exception)

        path = get_path_info(environ)
        response = self.application(environ, cast(StartResponse, record_head))
        if source := getattr(response, _MARK, None):
            self._keep_head(key, path, source, *heads[-1])
        return response

    def _keep_head(self, key: Key, path: str, source: Source, status: str, headers: list[tuple[str, str]]) -> None:
        names = {name for name, _ in headers}
        if "Set-Cookie" in names or not names.issuperset(VARYING_HEADERS):
            return
        recorded = self.recorded.get(key)
        if recorded is None:
            if len(self.recorded) >= MAX_RECORDED_REQUESTS:
                self.recorded, self.heads = {}, {}
            recorded = self.recorded.setdefault(key, _RecordedRequest(path, source))
        constant = tuple((name, "" if name in VARYING_HEADERS else value) for name, value in headers)
        head = self.heads.get((status, constant)) or _Head(status, constant)
        recorded.heads[int(status[:3])] = self.heads.setdefault((status, constant), head)


def build_application() -> RepeatedRequests:
    """Set Django up and return the WSGI application of the site."""
    return RepeatedRequests(get_wsgi_application())


def build_key(environ: WSGIEnvironment) -> Key | None:
    """Return the key of a request, or None if only Django can answer it."""
    if environ["REQUEST_METHOD"] not in METHODS or environ.get("CONTENT_LENGTH") not in (None, "", "0"):
        return None
    if environ.get("SCRIPT_NAME") or "CONTENT_TYPE" in environ or BODY_PROBLEM in environ or "HTTP_HOST" not in environ:
        return None
    if not _HEADERS.issuperset([name for name in environ if name.startswith("HTTP_")]):
        return None
    forwarded_scheme = environ.get("HTTP_X_FORWARDED_PROTO")
    if forwarded_scheme is not None and not is_trusted(environ.get("REMOTE_ADDR", "")):
        forwarded_scheme = None
    key = Key(
        method=environ["REQUEST_METHOD"],
        scheme=environ["wsgi.url_scheme"],
        forwarded_scheme=forwarded_scheme,
        host=environ["HTTP_HOST"],
        origin=environ.get("HTTP_ORIGIN", ""),
        path=environ["PATH_INFO"],
        query=environ.get("QUERY_STRING", ""),
    )
    return key if len(key.path) + len(key.query) + len(key.origin) <= MAX_KEY_CHARACTERS else None


def _repeat(
    recorded: _RecordedRequest, environ: WSGIEnvironment, start_response: StartResponse
) -> Iterable[bytes] | None:
    """Respond with refreshed content. None if Django has to respond."""
    started = time.perf_counter()
    request_id = choose_request_id(environ.get("HTTP_X_REQUEST_ID", ""))
    with bound_contextvars(request_id=request_id, correlation_id=request_id, causation_id=request_id):
        content = recorded.source.read()
        if content is None:
            return None
        conditional = _respond_to_condition(environ, content.etag)
        status = conditional.status_code if conditional else 200
        head = recorded.heads.get(status)
        if head is None:
            return None
        body = b"" if conditional else content.content
        start_response(head.status, head.build_headers(request_id, content.etag, len(body)))
        log_request(environ["REQUEST_METHOD"], recorded.path, status, started)
    return [body]


def _respond_to_condition(environ: WSGIEnvironment, etag: str) -> HttpResponse | None:
    """Return a response with status 304 if the client has the present content."""
    if "HTTP_IF_NONE_MATCH" not in environ and "HTTP_IF_MODIFIED_SINCE" not in environ:
        return None
    return get_conditional_response(cast(HttpRequest, _Conditions(environ)), etag=etag)
