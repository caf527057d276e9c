"""One of the five, as a WSGI application: its public address, its internal one, and what a test asks it to do.

    python -m granian … tests.topologies.application:application

In the product the first two are servers of their own, and the third is not there: tests/journeys/split.py has that.
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
from shop import engine, events, inbox, remote, services
from shop.database import hosted
from tests.topologies import calls
from tests.topologies.outside import Providers

settings.ALLOWED_HOSTS.append("testserver")  # as Django's test runner does
calls.noting(os.environ[f"{context.upper()}_URL"] for context in settings.ALL_CONTEXTS)
services.bind_all()
providers.registered = Providers(providers.registered)


def set_setting(name: str, value: Any) -> None:
    global public
    setattr(settings, name, value)
    public = None  # middleware reads settings when it is made
    setting_changed.send(sender=None, setting=name, value=value, enter=True)


def set_bindings(bindings: dict[str, str]) -> None:
    services.configure({name: url for name, url in bindings.items() if name not in hosted()}, settings.TRANSPORT)


def run_timers() -> None:
    for timer in events.timers(hosted()):
        timer.run()


def note() -> None:
    services.journal = []


def repeat() -> int:
    noted, services.journal = services.journal or [], None
    for call in noted:
        call()
    return len(noted)


def calls_made() -> dict[str, int]:
    return dict(calls.made)


TESTS: dict[str, Callable] = {
    "work": engine.work_once, "timers": run_timers, "setting": set_setting, "bindings": set_bindings, "note": note,
    "repeat": repeat, "calls": calls_made,
}  # fmt: skip
_served = services.served(hosted()) | inbox.served(hosted())
_internal_paths = {remote.path_of(name) for name in _served}
internal = remote.application(_served)


def application(environ: dict[str, Any], start_response: Callable) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    if path in _internal_paths:
        return internal(environ, start_response)
    if path.startswith("/tests/"):
        return _do(path.removeprefix("/tests/"), environ, start_response)
    key, address = environ.pop("HTTP_TESTS_KEY", ""), environ.pop("HTTP_TESTS_FROM", "")
    if hmac.compare_digest(key, os.environ["TESTS_KEY"]):
        environ["REMOTE_ADDR"] = address
        environ["wsgi.input"] = BytesIO(environ["wsgi.input"].read())  # a gateway has all of it before it asks
    return _public()(environ, start_response)


def _public() -> Callable:
    global public
    handler = public = public or WSGIHandler()
    return handler


def _do(what: str, environ: dict[str, Any], start_response: Callable) -> Iterable[bytes]:
    if not hmac.compare_digest(environ.get("HTTP_TESTS_KEY", ""), os.environ["TESTS_KEY"]):
        start_response("403 Forbidden", [])
        return []
    status, body = "200 OK", b""
    try:
        body = pickle.dumps(TESTS[what](*pickle.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))))
    except Exception:  # the test process raises it
        status, body = "500 Internal Server Error", traceback.format_exc().encode()
    finally:
        close_old_connections()
    start_response(status, [("Content-Length", str(len(body)))])
    return [body]
