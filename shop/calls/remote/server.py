"""The server of the remote transport: a WSGI application that verifies a request and calls the implementation."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import msgspec
import structlog
from django.db import close_old_connections

from shop.calls import tracing
from shop.calls.deadline import deadline
from shop.calls.methods import InvalidArguments, encode_unavailable, is_outage
from shop.calls.remote.nonces import record_nonce
from shop.calls.remote.signature import InvalidSignature, verify_signature
from shop.calls.remote.wire import OUTCOME_FAILED, OUTCOME_HEADER, OUTCOME_REFUSED, build_path
from shop.clients import Client
from shop.request_buffer import BODY_PROBLEM, NO_LENGTH, QUEUE_FULL, TIMED_OUT, TOO_LARGE
from shop.security_events import CALL_FAIL
from shop.security_log import MAX_PATH_LENGTH, log_security_event

MAX_REQUEST_BYTES = 4_000_000

BODY_STATUSES = {
    TIMED_OUT: "408 Request Timeout", TOO_LARGE: "413 Content Too Large", NO_LENGTH: "411 Length Required",
    QUEUE_FULL: "503 Service Unavailable",
}  # fmt: skip

ServedMethod = Callable[[bytes], bytes]  # takes the request body, returns the response body
RecordNonce = Callable[[str, str], bool]  # takes the called context and a nonce

log = structlog.get_logger(__name__)
_trace_decoder = msgspec.json.Decoder(tracing.Trace)


class CallRefused(Exception):
    """The request was refused before anything was done. The argument is the HTTP status line."""


class CallReplayed(Exception):
    """The request was received before; the outcome of the first one is not known here."""


class _Served(NamedTuple):
    name: str
    serve: ServedMethod
    record: Callable[[str], bool]  # records a nonce, and returns whether it is new


def create_application(methods: dict[str, ServedMethod], record: RecordNonce = record_nonce) -> WSGIApplication:
    """Return the WSGI application that serves these methods, by their names (`inventory.reserve`).

    record: records a nonce for the called context, by default in its database, and returns whether it is new.
    """
    methods_by_path = {
        build_path(name): _Served(name, serve, partial(record, name.partition(".")[0]))
        for name, serve in methods.items()
    }

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        status, outcome, body = "200 OK", "", b""
        try:
            body = _serve_request(methods_by_path, environ)
        except CallRefused as error:
            log.warning("call_refused", path=environ["PATH_INFO"], status=str(error))
            status, outcome = str(error), OUTCOME_REFUSED
        except CallReplayed:
            log.warning("call_replayed", path=environ["PATH_INFO"])
            _log_call_fail(environ, "replayed")
            status = "409 Conflict"
        except Exception:
            log.exception("call_failed", path=environ["PATH_INFO"])
            status, outcome = "500 Internal Server Error", OUTCOME_FAILED
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        start_response(status, [*headers, (OUTCOME_HEADER, outcome)] if outcome else headers)
        return [body]

    return application


def _serve_request(methods_by_path: dict[str, _Served], environ: WSGIEnvironment) -> bytes:
    path = environ["PATH_INFO"]
    served = methods_by_path.get(path)
    if served is None or environ["REQUEST_METHOD"] != "POST":
        raise CallRefused("404 Not Found")
    body, trace = _read_body(environ), environ.get("HTTP_SATSUMA_TRACE", "")
    try:
        nonce, seconds = verify_signature(path, environ.get("HTTP_AUTHORIZATION", ""), trace, body)
    except InvalidSignature:
        _log_call_fail(environ, "wrong_signature")
        raise CallRefused("401 Unauthorized") from None
    if seconds <= 0:
        raise CallRefused("504 Gateway Timeout")
    try:
        with tracing.use_trace(_trace_decoder.decode(trace)), deadline(seconds):
            return served.serve(body) if _is_new(served, nonce) else encode_unavailable(served.name)
    except InvalidArguments as error:
        log.error("call_arguments_invalid", path=path, error=str(error))
        raise CallRefused("400 Bad Request") from None
    finally:
        close_old_connections()


def _log_call_fail(environ: WSGIEnvironment, reason: str) -> None:
    """Log a call that cannot be trusted, with the address of the process that sent it."""
    sender = Client(address=str(environ.get("REMOTE_ADDR", "")))
    with tracing.use_trace(msgspec.structs.replace(tracing.start_trace(), client=sender)):
        log_security_event(CALL_FAIL, reason=reason, path=environ["PATH_INFO"][:MAX_PATH_LENGTH])


def _is_new(served: _Served, nonce: str) -> bool:
    """Return whether the call can be carried out, or False in an outage. Raises CallReplayed."""
    try:
        if served.record(nonce):
            return True
    except Exception as error:
        if not is_outage(error):
            raise
        return False
    raise CallReplayed


def _read_body(environ: WSGIEnvironment) -> bytes:
    if problem := environ.get(BODY_PROBLEM):
        raise CallRefused(BODY_STATUSES[problem])
    length = environ.get("CONTENT_LENGTH") or "0"
    if not length.isdecimal() or int(length) > MAX_REQUEST_BYTES:
        raise CallRefused("413 Content Too Large")
    body: bytes = environ["wsgi.input"].read(int(length))
    return body
