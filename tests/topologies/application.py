"""The WSGI application of one of the five processes: its public address, its internal one, and the commands of tests.

    python -m granian … tests.topologies.application:server

In production the first two are separate servers, and there are no commands: tests/journeys/split.py starts them so.
"""

import hmac
import os
import pickle
import traceback
from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any

from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.db import close_old_connections
from django.test.signals import setting_changed

from config.wsgi import application as public  # sets up Django; ENGINE is none
from contexts.payments import providers
from shop.calls import services
from shop.calls.remote.server import MAX_REQUEST_BYTES, create_application
from shop.calls.remote.wire import build_path
from shop.db.database import hosted_contexts
from shop.messaging import engine, events, inbox
from shop.request_buffer import RequestBuffer
from tests.topologies import recorded_calls
from tests.topologies.fakes_server import ProviderRegistry

settings.ALLOWED_HOSTS.append("testserver")  # as Django's test runner does
recorded_calls.record_calls_to(os.environ[f"{context.upper()}_URL"] for context in settings.ALL_CONTEXTS)
services.bind_all()
providers.registry = ProviderRegistry(providers.registry)


def set_setting(name: str, value: Any) -> None:
    global public
    setattr(settings, name, value)
    public = None  # middleware reads settings when it is created
    setting_changed.send(sender=None, setting=name, value=value, enter=True)


def set_bindings(bindings: dict[str, str]) -> None:
    services.configure(
        {name: url for name, url in bindings.items() if name not in hosted_contexts()}, settings.TRANSPORT
    )


def run_timers(name: str = "") -> None:
    for timer in events.list_timers(hosted_contexts()):
        if name in ("", timer.name):
            timer.run()


def record_calls() -> None:
    services.idempotent_calls = []


def repeat_calls() -> int:
    recorded, services.idempotent_calls = services.idempotent_calls or [], None
    for call in recorded:
        call()
    return len(recorded)


def calls_made() -> dict[str, int]:
    return dict(recorded_calls.call_counts)


COMMANDS: dict[str, Callable] = {
    "work": engine.run_once, "timers": run_timers, "setting": set_setting, "bindings": set_bindings, "record": record_calls,
    "repeat": repeat_calls, "calls": calls_made,
}  # fmt: skip
_served = services.get_served_methods(hosted_contexts()) | inbox.get_served_methods(hosted_contexts())
_internal_paths = {build_path(name) for name in _served}
internal = create_application(_served)


def application(environ: dict[str, Any], start_response: Callable) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    if path in _internal_paths:
        return internal(environ, start_response)
    if path.startswith("/tests/"):
        return _run_command(path.removeprefix("/tests/"), environ, start_response)
    key, address = environ.pop("HTTP_TESTS_KEY", ""), environ.pop("HTTP_TESTS_FROM", "")
    if hmac.compare_digest(key, os.environ["TESTS_KEY"]):
        environ["REMOTE_ADDR"] = address
        environ["wsgi.input"] = BytesIO(
            environ["wsgi.input"].read()
        )  # a gateway reads all of it before it sends the request
    return _public()(environ, start_response)


def _public() -> Callable:
    global public
    handler = public = public or WSGIHandler()
    return handler


def _run_command(name: str, environ: dict[str, Any], start_response: Callable) -> Iterable[bytes]:
    if not hmac.compare_digest(environ.get("HTTP_TESTS_KEY", ""), os.environ["TESTS_KEY"]):
        start_response("403 Forbidden", [])
        return []
    status, body = "200 OK", b""
    try:
        body = pickle.dumps(COMMANDS[name](*pickle.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))))
    except Exception:  # the test process raises it
        status, body = "500 Internal Server Error", traceback.format_exc().encode()
    finally:
        close_old_connections()
    start_response(status, [("Content-Length", str(len(body)))])
    return [body]


server = RequestBuffer(
    application,
    threads=settings.WEB_THREADS,
    max_body_bytes=MAX_REQUEST_BYTES,
    body_timeout_seconds=settings.BODY_TIMEOUT_SECONDS,
)
