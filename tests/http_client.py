"""Django's test client for every topology: the process that hosts the path responds.

With one process that is the test process. With five, the request is sent over HTTP to the one that the gateway would choose.
A test that looks into its own process meanwhile (statements on its connections, a cache) uses Django's client, or the fixture
`in_one_process`.
"""

from typing import Any

from django.core.handlers.wsgi import WSGIRequest
from django.dispatch import receiver
from django.http import HttpResponse
from django.test import client
from django.test.signals import setting_changed
from django.utils.encoding import iri_to_uri

from shop.security_log import count_events
from tests.declared_errors import assert_declared
from tests.topologies import five_processes

TOKEN = "t" * 32
REFUSALS = (401, 403, 429)


# The middleware of this process. Each new client would load it again, which lists all static files.
_middleware: dict[str, Any] = {}


@receiver(setting_changed)
def _forget_middleware(**_: object) -> None:
    _middleware.clear()


class Handler(client.ClientHandler):
    """Process a request here, or send it to the process that hosts the path."""

    def load_middleware(self, *arguments: Any, **options: Any) -> None:
        if not _middleware:
            super().load_middleware(*arguments, **options)
            _middleware.update((name, value) for name, value in vars(self).items() if name != "enforce_csrf_checks")
        vars(self).update(_middleware)

    def __call__(self, environ: dict[str, Any]) -> HttpResponse:
        path = environ["PATH_INFO"].encode("latin-1").decode(errors="replace")
        if five_processes.current is None:
            logged = count_events().total()
            response = super().__call__(environ)
            assert_declared(environ["REQUEST_METHOD"], path, response)
            if response.status_code in REFUSALS:
                assert count_events().total() > logged, (
                    f"{path} answers {response.status_code} without a security event"
                )
            return response
        target = iri_to_uri(path.replace("%", "%25"))
        if environ["QUERY_STRING"]:
            target += f"?{environ['QUERY_STRING']}"
        headers = request_headers(environ)
        if not self.enforce_csrf_checks:  # as a browser with the token of a form
            cookies = [headers["Cookie"]] if "Cookie" in headers else []
            headers |= {"X-CSRFToken": TOKEN, "Cookie": "; ".join([*cookies, f"csrftoken={TOKEN}"])}
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        status, headers, content = five_processes.current.request(
            environ["REQUEST_METHOD"], path, target, body, headers
        )
        response = HttpResponse(content, status=status)
        del response.headers["Content-Type"]
        for name, value in headers:
            if name.lower() == "set-cookie":
                response.cookies.load(value)
            else:
                response.headers[name] = value
        if "Location" in response.headers:
            response.url = response.headers["Location"]
        response.wsgi_request = WSGIRequest(environ)
        assert_declared(environ["REQUEST_METHOD"], path, response)
        return response


def request_headers(environ: dict[str, Any]) -> dict[str, str]:
    """Return the headers of a request, with the address of its client."""
    headers = {
        name.removeprefix("HTTP_").replace("_", "-").title(): value
        for name, value in environ.items() if name.startswith("HTTP_")
    }  # fmt: skip
    if "CONTENT_TYPE" in environ:
        headers["Content-Type"] = environ["CONTENT_TYPE"]
    return {"Host": environ["SERVER_NAME"], "Tests-From": environ["REMOTE_ADDR"]} | headers


class Client(client.Client):
    """A client of the shop, in every topology."""

    def __init__(self, enforce_csrf_checks: bool = False, raise_request_exception: bool = True, **more: Any) -> None:
        super().__init__(enforce_csrf_checks, raise_request_exception, **more)
        self.handler = Handler(enforce_csrf_checks)
