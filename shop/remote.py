"""The remote transport: an interface over HTTP/1.1, between processes that host different contexts.

    POST /inventory/reserve
    Authorization: Satsuma orders 1763725000 8f1c… 2950 6b0d…     caller, time, nonce, milliseconds left, signature
    Satsuma-Trace: {"correlation_id": …}

Body and answer are those of the loopback transport (`shop.services`). The signature covers all of it. Whoever answers
listens at an address of its own, never at the public one. What is not a plain answer is `Unavailable`, which says that
it may or may not have happened: what has a business key is asked again with it, as long as the caller has time.
"""

import hmac
import http.client
import random
import secrets
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any
from urllib.parse import urlsplit

import msgspec
import structlog
from django.conf import settings
from django.db import close_old_connections

from shop import chaos, tracing
from shop.errors import Unavailable
from shop.services import Method, Mystery, NotUnderstood, Send, noted

PATIENCE = 5.0  # seconds that a call may take with all its repeats, unless its caller has less
ANSWER = 3.0  # seconds until a request counts as lost
TRIES = 3
LINES = 16  # requests to one context at once; more wait, so that one slow context does not take every thread
FAILURES, REST = 5, 1.0  # so many in a row, and nobody asks for so many seconds; then one does
IDLE = 20.0  # seconds after which an unused connection is not used any more
WINDOW = 30  # seconds that a signature holds, and that clocks may differ
LARGEST = 4_000_000  # bytes of a request
OUTCOME, REFUSED, FAILED = "Satsuma-Outcome", "refused", "failed"  # header of every answer that is none, and its values

log = structlog.get_logger(__name__)
_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


class CalleeFailed(RuntimeError):
    """The callee met a bug of its own: the same call would meet it again."""


class NotSent(Exception):
    """The request has not reached anybody."""


class Lost(Exception):
    """The request may have reached somebody, but no answer came back."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Calls from this block end in so many seconds, whoever they go through. Of two limits the nearer one holds."""
    ends, outer = time.monotonic() + seconds, _deadline.get()
    token = _deadline.set(ends if outer is None else min(ends, outer))
    try:
        yield
    finally:
        _deadline.reset(token)


def left() -> float:
    """Seconds that the running code still has for its calls."""
    ends = _deadline.get()
    return PATIENCE if ends is None else min(PATIENCE, ends - time.monotonic())


# --- The caller's side


class Callee:
    """A context that another process hosts: its address, the connections to it, and how it has answered of late."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise ValueError(f"{url} is no http:// or https:// address")
        kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
        self.connect = lambda seconds: kind(address.hostname, address.port, timeout=seconds)
        self.idle: deque[tuple[http.client.HTTPConnection, float]] = deque()
        self.lines = threading.BoundedSemaphore(LINES)
        self.failures = 0
        self.rests_until = 0.0
        self.probing = threading.Lock()

    def ask(self, method: Method, body: bytes) -> bytes:
        """The callee's answer. Raises Unavailable, and CalleeFailed."""
        ends = time.monotonic() + left()
        for tried in range(TRIES):
            try:
                return self._ask_once(method, body, ends)
            except NotSent as why:
                again = why
            except Lost as why:
                again = why
                if method.repeat == "once":
                    break
            pause = 0.05 * 2**tried * random.uniform(0.5, 1)
            if tried + 1 == TRIES or time.monotonic() + pause >= ends:
                break
            time.sleep(pause)
        log.warning("call_unanswered", method=method.name, why=str(again))
        raise Unavailable(what=method.name)

    def _ask_once(self, method: Method, body: bytes, ends: float) -> bytes:
        if self.failures >= FAILURES and not self._may_probe():
            raise NotSent("it has not answered of late")
        if not self.lines.acquire(timeout=max(0.0, ends - time.monotonic())):
            raise NotSent("all lines are busy")
        hurried = ends - time.monotonic() < ANSWER
        try:
            answer = self._exchange(method, body, ends)
        except (NotSent, Lost) as why:
            if not (hurried and isinstance(why.__cause__, TimeoutError)):  # else it was the caller who had no time
                self.failures += 1
                self.rests_until = time.monotonic() + REST
            raise
        finally:
            self.lines.release()
        self.failures = 0
        return answer

    def _may_probe(self) -> bool:
        """Whether the rest is over; whoever is told so first asks, and the others wait for what comes of it."""
        now = time.monotonic()
        with self.probing:
            if now < self.rests_until:
                return False
            self.rests_until = now + ANSWER
            return True

    def _exchange(self, method: Method, body: bytes, ends: float) -> bytes:
        connection = self._connection(ends)
        seconds = _still(ends)
        try:
            connection.sock.settimeout(min(seconds, ANSWER))
            response, answer = chaos.call(f"wire.{method.name}", _said, connection, method, body, seconds)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise Lost(repr(error)) from error
        if response.status == 200 and not response.will_close:
            self._keep(connection)
        else:  # of several processes behind an address, another one may do it
            connection.close()
        return _understood(response, answer, method)

    def _connection(self, ends: float) -> http.client.HTTPConnection:
        """An open one that the callee has not closed meanwhile, else a new one. Raises NotSent."""
        while self.idle:
            connection, since = self.idle.pop()
            if time.monotonic() - since < IDLE and not _closed(connection):
                return connection
            connection.close()
        connection = self.connect(min(_still(ends), ANSWER))
        try:
            connection.connect()
        except OSError as error:
            raise NotSent(repr(error)) from error
        return connection

    def _keep(self, connection: http.client.HTTPConnection) -> None:
        """For the next call, which takes the one used last; those that nobody has needed for long are let go."""
        now = time.monotonic()
        self.idle.append((connection, now))
        with suppress(IndexError):  # another thread was faster
            while now - self.idle[0][1] > IDLE:
                self.idle.popleft()[0].close()


def _said(
    connection: http.client.HTTPConnection, method: Method, body: bytes, seconds: float
) -> tuple[http.client.HTTPResponse, bytes]:
    connection.request("POST", path_of(method.name), body, _headers(method.name, body, seconds))
    response = connection.getresponse()
    return response, response.read()


def _still(ends: float) -> float:
    """Seconds until then. Raises NotSent where there are none."""
    seconds = ends - time.monotonic()
    if seconds <= 0:
        raise NotSent("there is no time left") from TimeoutError()
    return seconds


def _closed(connection: http.client.HTTPConnection) -> bool:
    """Whether the other side has hung up: nothing else can be there to be read between two requests."""
    try:
        connection.sock.settimeout(0)
        connection.sock.recv(1)
    except (BlockingIOError, ssl.SSLWantReadError):
        return False
    except OSError:
        pass
    return True


def _understood(response: http.client.HTTPResponse, answer: bytes, method: Method) -> bytes:
    """What a callee said. Whatever else stands in between may have handed the request on before it failed."""
    if response.status == 200:
        return answer
    if response.headers.get(OUTCOME) == FAILED:
        raise CalleeFailed(f"{method.name} failed in the process that hosts it; its log says why")
    if response.headers.get(OUTCOME) == REFUSED:  # two processes whose keys, clocks or releases differ: somebody has to look
        log.error("call_refused", method=method.name, status=response.status)
        raise NotSent(f"refused with {response.status}")
    raise Lost(f"answered {response.status}")


_callees: dict[str, Callee] = {}
_opening = threading.Lock()


def reach(method: Method, url: str) -> Send:
    """The callable behind a bound name whose context is hosted at `url`."""
    with _opening:
        callee = _callees.setdefault(url, Callee(url))

    def call(**arguments: Any) -> Any:
        answer = callee.ask(method, msgspec.json.encode(arguments))
        try:
            return method.receive(answer)
        except Mystery as why:  # of a later release; it may mean anything
            log.error("call_answer_not_understood", method=method.name, why=str(why))
            raise Unavailable(what=method.name) from None

    return noted(method, call)


def path_of(name: str) -> str:
    """`inventory.reserve` is answered at /inventory/reserve."""
    return "/" + name.replace(".", "/")


# --- Signatures


def _headers(name: str, body: bytes, seconds: float) -> dict[str, str]:
    caller, trace = settings.CONTEXTS[0], msgspec.json.encode(tracing.current()).decode()
    said = f"{caller} {int(time.time())} {secrets.token_hex(12)} {int(seconds * 1000)}"
    signature = _sign(settings.CALL_KEYS[caller][0], path_of(name), said, trace, body)
    return {
        "Authorization": f"Satsuma {said} {signature}", "Satsuma-Trace": trace, "Content-Type": "application/json",
    }  # fmt: skip


def _sign(key: str, path: str, said: str, trace: str, body: bytes) -> str:
    return hmac.digest(key.encode(), b"\n".join((path.encode(), said.encode(), trace.encode(), body)), "sha256").hex()


class Refused(Exception):
    """Not a call of ours, so nothing was done: with the status that says so."""


class Repeated(Exception):
    """The same signed words once more. What was done the first time is not said."""


class _Seen:
    """The nonces of a window, so that what was overheard cannot be said again."""

    def __init__(self) -> None:
        self.nonces: dict[str, float] = {}
        self.lock = threading.Lock()

    def add(self, nonce: str) -> bool:
        """Whether it is new."""
        now = time.time()
        with self.lock:
            for old in list(self.nonces):
                if self.nonces[old] > now:
                    break
                del self.nonces[old]
            return self.nonces.setdefault(nonce, ends := now + 2 * WINDOW) == ends


_seen = _Seen()


def _checked(path: str, authorization: str, trace: str, body: bytes) -> float:
    """Seconds that the caller had when it asked. Raises Refused for whoever did not sign just this, just now; Repeated."""
    try:
        scheme, caller, at, nonce, milliseconds, signature = authorization.split(" ")
        said = f"{caller} {at} {nonce} {milliseconds}"
        keys = settings.CALL_KEYS[caller]
        fresh = abs(time.time() - int(at)) <= WINDOW
        seconds = int(milliseconds) / 1000
    except (ValueError, KeyError):
        raise Refused("401 Unauthorized") from None
    expected = (_sign(key, path, said, trace, body) for key in keys)
    given = signature.encode()
    if scheme != "Satsuma" or not any([hmac.compare_digest(given, one.encode()) for one in expected]) or not fresh:
        raise Refused("401 Unauthorized")
    if not _seen.add(nonce):
        raise Repeated
    return seconds


# --- The callee's side

_trace = msgspec.json.Decoder(tracing.Trace)
Serve = Callable[[bytes], bytes]


def application(served: dict[str, Serve]) -> Callable:
    """The WSGI application at the internal address, for these methods."""
    found = {path_of(name): serve for name, serve in served.items()}

    def answer(environ: dict[str, Any], start_response: Callable) -> Iterable[bytes]:
        status, outcome, body = "200 OK", "", b""
        try:
            body = _answer(found, environ)
        except Refused as why:
            log.warning("call_refused", path=environ["PATH_INFO"], why=str(why))
            status, outcome = str(why), REFUSED
        except Repeated:
            log.warning("call_repeated", path=environ["PATH_INFO"])
            status = "409 Conflict"
        except Exception:
            log.exception("call_failed", path=environ["PATH_INFO"])
            status, outcome = "500 Internal Server Error", FAILED
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        start_response(status, [*headers, (OUTCOME, outcome)] if outcome else headers)
        return [body]

    return answer


def _answer(found: dict[str, Serve], environ: dict[str, Any]) -> bytes:
    path = environ["PATH_INFO"]
    serve = found.get(path)
    if serve is None or environ["REQUEST_METHOD"] != "POST":
        raise Refused("404 Not Found")
    length = environ.get("CONTENT_LENGTH") or "0"
    if not length.isdecimal() or int(length) > LARGEST:
        raise Refused("413 Content Too Large")
    body = environ["wsgi.input"].read(int(length))
    trace = environ.get("HTTP_SATSUMA_TRACE", "")
    seconds = _checked(path, environ.get("HTTP_AUTHORIZATION", ""), trace, body)
    if seconds <= 0:
        raise Refused("504 Gateway Timeout")
    try:
        with tracing.following(_trace.decode(trace)), within(seconds):
            return serve(body)
    except NotUnderstood as error:
        log.error("call_not_understood", path=path, why=str(error))
        raise Refused("400 Bad Request") from None
    finally:
        close_old_connections()
