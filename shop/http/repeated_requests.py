"""Answer repeated GET requests before Django does.

A view marks a response whose content can be refreshed without a request (`mark_repeatable`). `RepeatedRequests`, the WSGI
application in front of Django, keeps the head of a marked response, exactly as the middleware and the view have made it. It
answers later requests that differ in nothing a response depends on with this head and the refreshed content. All others take
the whole way through Django: other methods, requests with a header that is not listed here, responses that no view has marked,
content that has to be rendered there, and everything while the database is not available. With `BatchingBuffer`, requests that
wait share a thread, a connection and a statement.
"""

import asyncio
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol, cast
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import structlog
from django.core.handlers.wsgi import get_path_info
from django.core.wsgi import get_wsgi_application
from django.db import connections
from django.http import HttpRequest, HttpResponse
from django.utils.cache import get_conditional_response
from structlog.contextvars import bound_contextvars

from shop.db.database import OUTAGE_ERRORS
from shop.http.middleware import choose_request_id, log_request
from shop.http.proxies import is_trusted
from shop.request_buffer import BODY_PROBLEM, Exchange, RequestBuffer

log = structlog.get_logger(__name__)

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
_MARK = "repeatable"
Answer = tuple[str, list[tuple[str, str]], bytes]  # status, headers and body
_SLUG = re.compile(r"[-a-zA-Z0-9_]+")  # as Django's path converter


class Content(Protocol):
    """The content of a response, and its ETag."""

    @property
    def content(self) -> bytes: ...
    @property
    def etag(self) -> str: ...


Refresh = Callable[[list[str]], Sequence[Content | None]]


class Key(NamedTuple):
    """The parts of a request on which the head and the content of a marked response depend."""

    method: str
    scheme: str
    forwarded_scheme: str | None  # of a trusted proxy
    host: str
    origin: str
    path: str  # as in the environment
    query: str
    is_family: bool = False  # path: without the slug at its end

    def build_family(self) -> "Key":
        """Return the key of all requests that differ only in a slug at the end of the path. A query has its own key."""
        parent, _, slug = self.path.rpartition("/")
        return self._replace(path=parent, is_family=True) if not self.query and _SLUG.fullmatch(slug) else self


class Source(NamedTuple):
    """How the contents of marked responses are refreshed, and the database that they are read from."""

    alias: str
    refresh: Refresh

    def read(self, names: Iterable[str]) -> dict[str, Content | None]:
        """Return the present contents by name, None for those that Django has to build. Gives the connection back."""
        distinct = list(dict.fromkeys(names))
        try:
            return dict(zip(distinct, self.refresh(distinct), strict=True))
        except OUTAGE_ERRORS:
            return dict.fromkeys(distinct)  # Django tries again, and responds with the problem
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


class Recorded(NamedTuple):
    """A request whose response was marked: how to refresh the content with a name, and a head for each status."""

    source: Source
    name: str
    is_family: bool
    path: str  # decoded, for the log
    heads: dict[int, _Head]


class Repeated(NamedTuple):
    """A request that is answered without Django, unless its content has to be rendered there."""

    environ: WSGIEnvironment
    recorded: Recorded  # of this request or its family
    name: str  # of the content
    path: str


class _Conditions:
    """The parts of a request that `get_conditional_response` reads."""

    def __init__(self, environ: WSGIEnvironment) -> None:
        self.META = environ
        self.method = environ["REQUEST_METHOD"]


def mark_repeatable(
    response: HttpResponse, alias: str, refresh: Refresh, name: str, *, is_family: bool = False
) -> None:
    """Allow to repeat a response to GET or HEAD without Django. Its head must depend on nothing but `Key` and ETag.

    refresh: returns the present contents with some names, or None for one that a view has to build. Runs without a request,
    in any thread, and reads no database but `alias`. It is called with the names of all requests that wait.
    name: of the content. is_family: whether all paths that differ only in a slug at the end belong to the same view, and have
    this head. The name of a content is then its path.
    """
    setattr(response, _MARK, Recorded(Source(alias, refresh), name, is_family, "", {}))


class RepeatedRequests:
    """A WSGI application that answers repeated requests itself and passes all others on."""

    def __init__(self, application: WSGIApplication) -> None:
        self.application = application
        self.recorded: dict[Key, Recorded] = {}
        self.heads: dict[tuple[str, tuple[tuple[str, str], ...]], _Head] = {}  # most requests share a few

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if request := self.find(environ):
            for status, headers, body in filter(None, answer_together([request])):
                start_response(status, headers)
                return [body]
        return self.ask_django(environ, start_response)

    def find(self, environ: WSGIEnvironment) -> Repeated | None:
        """Return the request if it, or one of its family, was recorded."""
        key = build_key(environ)
        if key and (recorded := self.recorded.get(key) or self.recorded.get(key.build_family())):
            name, path = (key.path, key.path) if recorded.is_family else (recorded.name, recorded.path)
            return Repeated(environ, recorded, name, path)
        return None

    def ask_django(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Let Django respond, and keep the head of its response if a view has marked it."""
        heads: list[tuple[str, list[tuple[str, str]]]] = []

        def record_head(status: str, headers: list[tuple[str, str]], *exception: Any) -> Any:
            heads.append((status, headers))
            return start_response(status, headers, *exception)

        key = build_key(environ)
        response = self.application(environ, cast(StartResponse, record_head))
        if key and (mark := getattr(response, _MARK, None)):
            path = get_path_info(environ)
            self._keep_head(key.build_family() if mark.is_family else key, path, mark, *heads[-1])
        return response

    def _keep_head(self, key: Key, path: str, mark: Recorded, status: str, headers: list[tuple[str, str]]) -> None:
        names = {name for name, _ in headers}
        if "Set-Cookie" in names or not names.issuperset(VARYING_HEADERS):
            return
        recorded = self.recorded.get(key)
        if recorded is None:
            if len(self.recorded) >= MAX_RECORDED_REQUESTS:
                self.recorded, self.heads = {}, {}
            recorded = self.recorded.setdefault(key, mark._replace(path=path))
        constant = tuple((name, "" if name in VARYING_HEADERS else value) for name, value in headers)
        head = self.heads.get((status, constant)) or _Head(status, constant)
        recorded.heads[int(status[:3])] = self.heads.setdefault((status, constant), head)


class _Batch:
    """Requests that wait to be answered together, and those of them, by place, that were answered."""

    def __init__(self) -> None:
        self.requests: list[Repeated] = []
        self.exchanges: list[Exchange] = []
        self.answered: set[int] = set()
        self.ended = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    def answer(self) -> None:
        """Respond to each request. Runs in a thread."""
        for place, answer in enumerate(answer_together(self.requests)):
            if answer:
                self.answered.add(place)
                self.exchanges[place].response_bytes(int(answer[0][:3]), *answer[1:])


class BatchingBuffer(RequestBuffer):
    """A request buffer that answers repeated requests in batches: all that arrive while the previous batch is answered.

    A batch takes one thread, one connection and one statement, and begins after the last of its requests has arrived.
    """

    def __init__(self, repeated: RepeatedRequests, **options: Any) -> None:  # those of RequestBuffer
        super().__init__(repeated.ask_django, **options)
        self.repeated = repeated
        self.waiting, self.running = _Batch(), _Batch()
        self.running.ended.set()

    async def _run(self, threads: ThreadPoolExecutor, environ: WSGIEnvironment, exchange: Exchange) -> None:
        request = self.repeated.find(environ) if threads is self.threads else None
        if request is None or not await self._repeat(request, exchange):
            await super()._run(threads, environ, exchange)

    async def _repeat(self, request: Repeated, exchange: Exchange) -> bool:
        """Return whether the request was answered. The first request of a batch starts it, in a task of its own."""
        batch, place = self.waiting, len(self.waiting.requests)
        batch.requests.append(request)
        batch.exchanges.append(exchange)
        batch.task = batch.task or asyncio.create_task(self._answer(batch))
        await batch.ended.wait()
        return place in batch.answered

    async def _answer(self, batch: _Batch) -> None:
        """Answer a batch once the one before has ended. After an error, Django responds to the rest."""
        await self.running.ended.wait()
        self.waiting, self.running = _Batch(), batch
        try:
            await asyncio.get_running_loop().run_in_executor(self.threads, batch.answer)
        except Exception:
            log.exception("batch_not_answered", requests=len(batch.requests), answered=len(batch.answered))
        finally:
            batch.ended.set()


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


def answer_together(requests: Sequence[Repeated]) -> Iterator[Answer | None]:
    """Respond with refreshed contents, which are read together. None for a request if Django has to respond to it."""
    started = time.perf_counter()
    names: dict[Source, list[str]] = {}
    for request in requests:
        names.setdefault(request.recorded.source, []).append(request.name)
    contents = {source: source.read(wanted) for source, wanted in names.items()}
    for request in requests:
        content = contents[request.recorded.source][request.name]
        yield _answer(request, content, started) if content else None


def _answer(request: Repeated, content: Content, started: float) -> Answer | None:
    environ = request.environ
    conditional = _respond_to_condition(environ, content.etag)
    status = conditional.status_code if conditional else 200
    head = request.recorded.heads.get(status)
    if head is None:
        return None
    request_id = choose_request_id(environ.get("HTTP_X_REQUEST_ID", ""))
    with bound_contextvars(request_id=request_id, correlation_id=request_id, causation_id=request_id):
        log_request(environ["REQUEST_METHOD"], request.path, status, started)
    body = b"" if conditional else content.content
    return head.status, head.build_headers(request_id, content.etag, len(body)), body


def _respond_to_condition(environ: WSGIEnvironment, etag: str) -> HttpResponse | None:
    """Return a response with status 304 if the client has the present content."""
    if "HTTP_IF_NONE_MATCH" not in environ and "HTTP_IF_MODIFIED_SINCE" not in environ:
        return None
    return get_conditional_response(cast(HttpRequest, _Conditions(environ)), etag=etag)
