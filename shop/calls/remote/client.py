"""The client of the remote transport: connections, attempts and a circuit breaker for each address."""

import http.client
import random
import ssl
import threading
import time
from collections import deque
from contextlib import suppress
from urllib.parse import urlsplit

import msgspec
import structlog

from shop import chaos
from shop.calls.deadline import remaining_seconds
from shop.calls.methods import Method, MethodCall, UnreadableReply
from shop.calls.remote.signature import build_headers
from shop.calls.remote.wire import OUTCOME_FAILED, OUTCOME_HEADER, OUTCOME_REFUSED, build_path
from shop.calls.services import record_calls
from shop.errors import Unavailable

REPLY_TIMEOUT_SECONDS = 3.0  # of one attempt
MAX_ATTEMPTS = 3
FIRST_RETRY_DELAY_SECONDS = 0.05  # doubles with each attempt
MAX_CONCURRENT_CALLS = 16  # to one address; others wait, so that one slow context does not occupy every thread
CIRCUIT_FAILURE_THRESHOLD = 5  # consecutive failures that open the circuit
CIRCUIT_COOLDOWN_SECONDS = 1.0  # after which one call probes whether the callee works again
MAX_IDLE_SECONDS = 20.0  # after which an unused connection is closed

log = structlog.get_logger(__name__)


class CalleeFailed(RuntimeError):
    """The callee raised an unexpected exception: a bug that the same call would meet again."""


class RequestNotSent(Exception):
    """The request did not reach the callee, or was refused there, so nothing was done."""


class ReplyLost(Exception):
    """The request may have been executed, but no reply arrived."""


class Callee:
    """A context hosted at another address: its idle connections, its concurrency limit and its circuit breaker."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise ValueError(f"{url} must be an http:// or https:// URL")
        self.host, self.port = address.hostname, address.port
        self.connection_class = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
        self.idle: deque[tuple[http.client.HTTPConnection, float]] = deque()  # each with the time since when
        self.slots = threading.BoundedSemaphore(MAX_CONCURRENT_CALLS)
        self.failures = 0
        self.circuit_open_until = 0.0
        self.probe_lock = threading.Lock()

    def call(self, method: Method, body: bytes) -> bytes:
        """Send a request, repeated where that is safe, and return the reply. Raises Unavailable and CalleeFailed."""
        expires_at = time.monotonic() + remaining_seconds()
        reason: Exception
        for attempt in range(MAX_ATTEMPTS):
            try:
                return self._attempt(method, body, expires_at)
            except RequestNotSent as error:
                reason = error
            except ReplyLost as error:
                reason = error
                if method.retry_policy == "once":
                    break
            pause = FIRST_RETRY_DELAY_SECONDS * 2**attempt * random.uniform(0.5, 1)
            if attempt + 1 == MAX_ATTEMPTS or time.monotonic() + pause >= expires_at:
                break
            time.sleep(pause)
        log.warning("call_unanswered", method=method.name, reason=str(reason))
        raise Unavailable(what=method.name)

    def _attempt(self, method: Method, body: bytes, expires_at: float) -> bytes:
        if self.failures >= CIRCUIT_FAILURE_THRESHOLD and not self._try_start_probe():
            raise RequestNotSent("the circuit is open after repeated failures")
        if not self.slots.acquire(timeout=max(0.0, expires_at - time.monotonic())):
            raise RequestNotSent(f"{MAX_CONCURRENT_CALLS} calls to this address are in progress")
        is_hurried = expires_at - time.monotonic() < REPLY_TIMEOUT_SECONDS
        try:
            reply = self._exchange(method, body, expires_at)
        except (RequestNotSent, ReplyLost) as error:
            # A timeout that the caller's own deadline shortened is no evidence about the callee.
            if not (is_hurried and isinstance(error.__cause__, TimeoutError)):
                self.failures += 1
                self.circuit_open_until = time.monotonic() + CIRCUIT_COOLDOWN_SECONDS
            raise
        finally:
            self.slots.release()
        self.failures = 0
        return reply

    def _try_start_probe(self) -> bool:
        """Return whether this call may probe the callee. Other calls are rejected until the probe has ended."""
        now = time.monotonic()
        with self.probe_lock:
            if now < self.circuit_open_until:
                return False
            self.circuit_open_until = now + REPLY_TIMEOUT_SECONDS
            return True

    def _exchange(self, method: Method, body: bytes, expires_at: float) -> bytes:
        connection = self._acquire_connection(expires_at)
        seconds = _require_time_left(expires_at)
        try:
            connection.sock.settimeout(min(seconds, REPLY_TIMEOUT_SECONDS))
            response, reply = chaos.call_with_points(
                f"wire.{method.name}", _send_request, connection, method, body, seconds
            )
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise ReplyLost(repr(error)) from error
        if response.status == 200 and not response.will_close:
            self._release_connection(connection)
        else:  # a new connection may reach another process behind the same address, which may accept the call
            connection.close()
        return _read_reply(response, reply, method)

    def _acquire_connection(self, expires_at: float) -> http.client.HTTPConnection:
        """Return an idle connection that the callee has not closed, or a new one. Raises RequestNotSent."""
        while self.idle:
            connection, since = self.idle.pop()
            if time.monotonic() - since < MAX_IDLE_SECONDS and not _is_closed(connection):
                return connection
            connection.close()
        timeout = min(_require_time_left(expires_at), REPLY_TIMEOUT_SECONDS)
        connection = self.connection_class(self.host, self.port, timeout=timeout)
        try:
            connection.connect()
        except OSError as error:
            raise RequestNotSent(repr(error)) from error
        return connection

    def _release_connection(self, connection: http.client.HTTPConnection) -> None:
        """Keep a connection for the next call, which takes the last one used. Close those that were idle too long."""
        now = time.monotonic()
        self.idle.append((connection, now))
        with suppress(IndexError):  # another thread has emptied the queue
            while now - self.idle[0][1] > MAX_IDLE_SECONDS:
                self.idle.popleft()[0].close()


def _send_request(
    connection: http.client.HTTPConnection, method: Method, body: bytes, seconds: float
) -> tuple[http.client.HTTPResponse, bytes]:
    path = build_path(method.name)
    connection.request("POST", path, body, build_headers(path, body, seconds))
    response = connection.getresponse()
    return response, response.read()


def _require_time_left(expires_at: float) -> float:
    """Return the seconds until the deadline. Raises RequestNotSent if it has passed."""
    seconds = expires_at - time.monotonic()
    if seconds <= 0:
        raise RequestNotSent("the deadline has passed") from TimeoutError()
    return seconds


def _is_closed(connection: http.client.HTTPConnection) -> bool:
    """Return whether the callee has closed an idle connection: nothing but its end can be there to read."""
    try:
        connection.sock.settimeout(0)
        connection.sock.recv(1)
    except (BlockingIOError, ssl.SSLWantReadError):
        return False
    except OSError:
        pass
    return True


def _read_reply(response: http.client.HTTPResponse, reply: bytes, method: Method) -> bytes:
    """Return the callee's reply. An error without our header may come from a proxy that had forwarded the request."""
    if response.status == 200:
        return reply
    outcome = response.headers.get(OUTCOME_HEADER)
    if outcome == OUTCOME_FAILED:
        raise CalleeFailed(f"{method.name} failed in the process that hosts it; see the log of that process")
    if outcome == OUTCOME_REFUSED:  # the keys, clocks or releases of the two processes differ: an operator has to act
        log.error("call_refused", method=method.name, status=response.status)
        raise RequestNotSent(f"refused with {response.status}")
    raise ReplyLost(f"answered {response.status}")


_callees: dict[str, Callee] = {}
_callees_lock = threading.Lock()


def bind_remote(method: Method, url: str) -> MethodCall:
    """Return a callable that calls a method of a context hosted at `url`."""
    with _callees_lock:
        callee = _callees.setdefault(url, Callee(url))

    def call(**arguments: object) -> object:
        reply = callee.call(method, msgspec.json.encode(arguments))
        try:
            return method.receive(reply)
        except UnreadableReply as error:  # of a later release: whether the call happened is not known
            log.error("call_reply_unreadable", method=method.name, error=str(error))
            raise Unavailable(what=method.name) from None

    return record_calls(method, call)
