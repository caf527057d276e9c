"""Django's test client, for all that is asked over HTTP: who answers is whoever hosts the path.

In one process that is this one. Where the suite runs in five, a request to the API crosses to the one that hosts it; the
admin, whose tests look into its templates, and what is nobody's in particular stay here. A test that looks into its own
process while it asks (statements on its connections, a cache) uses Django's client itself.
"""

from typing import Any

from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpResponse
from django.test import client
from django.utils.encoding import iri_to_uri

from tests.topologies import five


class Handler(client.ClientHandler):
    """Answers here or has another process answer."""

    def __call__(self, environ: dict[str, Any]) -> HttpResponse:
        path = environ["PATH_INFO"].encode("latin-1").decode(errors="replace")
        if five.current is None or not path.startswith(("/api/v1/", "/.well-known/")):
            return super().__call__(environ)
        target = iri_to_uri(path.replace("%", "%25"))
        if environ["QUERY_STRING"]:
            target += f"?{environ['QUERY_STRING']}"
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        status, headers, content = five.current.request(environ["REQUEST_METHOD"], path, target, body, sent(environ))
        response = HttpResponse(content, status=status)
        del response.headers["Content-Type"]
        for name, value in headers:
            if name.lower() == "set-cookie":
                response.cookies.load(value)
            else:
                response.headers[name] = value
        response.wsgi_request = WSGIRequest(environ)
        return response


def sent(environ: dict[str, Any]) -> dict[str, str]:
    """The headers of a request, and whom it is said to come from."""
    headers = {
        name.removeprefix("HTTP_").replace("_", "-").title(): value
        for name, value in environ.items() if name.startswith("HTTP_")
    }  # fmt: skip
    if "CONTENT_TYPE" in environ:
        headers["Content-Type"] = environ["CONTENT_TYPE"]
    return {"Host": environ["SERVER_NAME"], "Tests-From": environ["REMOTE_ADDR"]} | headers


class Client(client.Client):
    """A browser or a program somewhere."""

    def __init__(self, enforce_csrf_checks: bool = False, raise_request_exception: bool = True, **more: Any) -> None:
        super().__init__(enforce_csrf_checks, raise_request_exception, **more)
        self.handler = Handler(enforce_csrf_checks)
