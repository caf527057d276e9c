"""Receive a whole request before a thread handles it, so that slow clients cost no threads.

`RequestBuffer` runs a WSGI application under granian's RSGI interface. An event loop reads the bodies, each within a time
limit. A body that does not arrive in time, is too large, or has no announced length is not read: the application gets
BODY_PROBLEM in the environment and answers 408, 413 or 411. A request whose client disconnects is dropped. /health and /ready
have threads of their own, so that they answer while all others are busy. An `Admission` limits how many costly requests of one
kind run and wait: the application answers 503 to more, at once.
"""

import asyncio
import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any, Protocol
from wsgiref.types import WSGIApplication, WSGIEnvironment

UNREADABLE = "\xff"  # as the value of a header that granian cannot read: outside of ASCII. No header may have it
BODY_PROBLEM = "satsuma.body_problem"  # key of the WSGI environment
TIMED_OUT, TOO_LARGE, NO_LENGTH, QUEUE_FULL = "timed_out", "too_large", "no_length", "queue_full"
PROBE_THREADS = {"/health": 1, "/ready": 2}
STREAM_CHUNK_BYTES = 65_536
MAX_BUFFERED_RESPONSE_BYTES = 4_000_000
METHODS_WITHOUT_BODY = ("GET", "HEAD", "OPTIONS", "DELETE")


class Headers(Protocol):
    """The headers of a request, with names in lower case."""

    def get(self, key: str, default: str | None = None) -> str | None: ...
    def items(self) -> list[tuple[str, str]]: ...
    def keys(self) -> list[str]: ...


class Scope(Protocol):
    """The head of a request as granian describes it (the RSGI specification)."""

    proto: str
    http_version: str
    server: str
    client: str
    scheme: str
    method: str
    path: str
    query_string: str
    authority: str | None
    headers: Headers


class Exchange(Protocol):
    """The body of a request, and the ways to respond (`RSGIHTTPProtocol`)."""

    def __aiter__(self) -> Any: ...  # of bytes
    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None: ...
    def response_stream(self, status: int, headers: list[tuple[str, str]]) -> Any: ...  # RSGIHTTPStreamTransport


class BodyRefused(Exception):
    """The body is not read. The argument is the value of BODY_PROBLEM."""


class ClientDisconnected(Exception):
    """The client has closed the connection before the whole body had arrived."""


class Admission:
    """How many costly requests a process takes at the same time: POST to one of some paths. Only the event loop uses it.

    paths: regular expressions. limit: how many requests to the same path may run or wait; more are refused.
    own_threads: how many threads they have to themselves, so that they take none of the others. 0: they share all.
    """

    def __init__(self, *, paths: Iterable[str], limit: int, own_threads: int = 0) -> None:
        self.paths = [re.compile(path) for path in paths]
        self.limit = limit
        self.threads = ThreadPoolExecutor(own_threads, "costly-request") if own_threads else None
        self.admitted: Counter[str] = Counter()  # by path

    def find_path(self, scope: Scope) -> str | None:
        """Return the expression that the path of a request matches, or None if any number is admitted."""
        if scope.method != "POST":
            return None
        return next((path.pattern for path in self.paths if path.fullmatch(scope.path)), None)


class RequestBuffer:
    """An RSGI application that hands buffered requests to a WSGI application.

    threads: how many requests are handled at the same time. max_body_bytes: larger bodies are refused. body_timeout_seconds:
    how long a whole body may take to arrive. admissions: the limits of costly requests.
    """

    def __init__(
        self,
        application: WSGIApplication,
        *,
        threads: int,
        max_body_bytes: int,
        body_timeout_seconds: float,
        admissions: Sequence[Admission] = (),
    ) -> None:
        self.application = application
        self.max_body_bytes = max_body_bytes
        self.body_timeout_seconds = body_timeout_seconds
        self.admissions = admissions
        self.threads = ThreadPoolExecutor(threads, "request")
        self.refusal_threads = ThreadPoolExecutor(1, "refusal")
        self.probe_threads = {path: ThreadPoolExecutor(count, path.strip("/")) for path, count in PROBE_THREADS.items()}

    async def __rsgi__(self, scope: Scope, exchange: Exchange) -> None:
        environ = build_environ(scope)
        try:
            async with asyncio.timeout(self.body_timeout_seconds):
                body = await self._read_body(scope, exchange)
            environ["CONTENT_LENGTH"] = str(len(body))
            environ["wsgi.input"] = BytesIO(body)
        except TimeoutError:
            environ[BODY_PROBLEM] = TIMED_OUT
        except BodyRefused as refusal:
            [environ[BODY_PROBLEM]] = refusal.args
        except ClientDisconnected:
            return exchange.response_bytes(400, [], b"")
        if BODY_PROBLEM in environ:
            return await self._run(self.refusal_threads, environ, exchange)
        for admission in self.admissions:
            if path := admission.find_path(scope):
                return await self._run_if_admitted(admission, path, environ, exchange)
        await self._run(self.probe_threads.get(scope.path, self.threads), environ, exchange)

    async def _run_if_admitted(
        self, admission: Admission, path: str, environ: WSGIEnvironment, exchange: Exchange
    ) -> None:
        if admission.admitted[path] >= admission.limit:
            environ[BODY_PROBLEM] = QUEUE_FULL
            return await self._run(self.refusal_threads, environ, exchange)
        admission.admitted[path] += 1
        try:
            await self._run(admission.threads or self.threads, environ, exchange)
        finally:
            admission.admitted[path] -= 1

    async def _run(self, threads: ThreadPoolExecutor, environ: WSGIEnvironment, exchange: Exchange) -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(threads, _handle, self.application, environ, exchange, loop)

    async def _read_body(self, scope: Scope, exchange: Exchange) -> bytes:
        length = scope.headers.get("content-length")
        if length is None:
            if scope.http_version.startswith("1") and scope.headers.get("transfer-encoding") is None:
                return b""
            if scope.method in METHODS_WITHOUT_BODY:
                return b""
            raise BodyRefused(NO_LENGTH)  # its end looks like a lost connection
        if int(length) > self.max_body_bytes:
            raise BodyRefused(TOO_LARGE)
        body = bytearray()
        async for chunk in exchange:
            body += chunk
        if len(body) != int(length):
            raise ClientDisconnected
        return bytes(body)


def build_environ(scope: Scope) -> WSGIEnvironment:
    """Build the WSGI environment of a request without a body (PEP 3333).

    Headers with an underscore are dropped, as nginx does: in the environment they would look like those with a hyphen.
    """
    host, _, port = scope.server.rpartition(":")
    environ: WSGIEnvironment = {
        "REQUEST_METHOD": scope.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": _to_native(scope.path),
        "QUERY_STRING": scope.query_string,
        "SERVER_NAME": host.strip("[]"),
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "REMOTE_ADDR": scope.client.rpartition(":")[0].strip("[]"),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.scheme,
        "wsgi.input": BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    headers = list(scope.headers.items())  # without those that granian cannot read
    headers += [(name, UNREADABLE) for name in set(scope.headers.keys()).difference(name for name, _ in headers)]
    for name, value in headers:
        if "_" in name:
            continue
        key = name.upper().replace("-", "_")
        key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
        separator = "; " if key == "HTTP_COOKIE" else ","
        environ[key] = f"{environ[key]}{separator}{value}" if key in environ else value
    if scope.authority and "HTTP_HOST" not in environ:
        environ["HTTP_HOST"] = scope.authority
    return environ


def _to_native(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("latin-1")


class _Response:
    """The head of a response: collects the arguments of start_response."""

    status = 500
    headers: list[tuple[str, str]] = []

    def __call__(self, status: str, headers: list[tuple[str, str]], exc_info: object = None) -> Any:
        self.status, self.headers = int(status[:3]), headers
        return _refuse_write


def _refuse_write(data: bytes) -> None:
    raise NotImplementedError("the write callable of WSGI is not supported: return the body")


def _handle(
    application: WSGIApplication, environ: WSGIEnvironment, exchange: Exchange, loop: asyncio.AbstractEventLoop
) -> None:
    """Run the application and respond. Runs in a thread."""
    response = _Response()
    parts = application(environ, response)
    try:
        if _is_large_stream(parts, response.headers):
            _stream(parts, response, exchange, loop)
        else:
            exchange.response_bytes(response.status, response.headers, b"".join(parts))
    finally:
        if close := getattr(parts, "close", None):
            close()


def _is_large_stream(parts: Iterable[bytes], headers: list[tuple[str, str]]) -> bool:
    """Return whether a body is generated while it is sent, and may be too large to be collected first."""
    if not getattr(parts, "streaming", False):
        return False
    length = next((value for name, value in headers if name.lower() == "content-length"), "")
    return not length.isdecimal() or int(length) > MAX_BUFFERED_RESPONSE_BYTES


def _stream(parts: Iterable[bytes], response: _Response, exchange: Exchange, loop: asyncio.AbstractEventLoop) -> None:
    """Send a body in chunks; each one waits until the client has room for it."""
    transport = exchange.response_stream(response.status, response.headers)

    async def send(chunk: bytes) -> None:
        await transport.send_bytes(chunk)

    pending = bytearray()
    for part in parts:
        pending += part
        if len(pending) >= STREAM_CHUNK_BYTES:
            asyncio.run_coroutine_threadsafe(send(bytes(pending)), loop).result()
            pending.clear()
    asyncio.run_coroutine_threadsafe(send(bytes(pending)), loop).result()
