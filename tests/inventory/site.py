"""The site as a server runs it: the answers to repeated requests, and Django behind them."""

from collections.abc import Callable
from io import BytesIO
from typing import Any, NamedTuple

from django.core.handlers.wsgi import WSGIHandler

from shop.http.repeated_requests import RepeatedRequests


class Answer(NamedTuple):
    """All that a server sends."""

    status: str
    headers: list[tuple[str, str]]
    body: bytes

    def get(self, name: str) -> str | None:
        """Return the value of a header."""
        return dict(self.headers).get(name)


class Site:
    """The site, which counts the requests that Django answers."""

    def __init__(self) -> None:
        self.django = WSGIHandler()
        self.asked = 0
        self.front = RepeatedRequests(self._ask_django)

    def _ask_django(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        self.asked += 1
        return self.django(environ, start_response)

    def request(self, target: str, method: str = "GET", **environ: str) -> Answer:
        """Send a request to the site."""
        return call(self.front, target, method, **environ)

    def ask_django(self, target: str, method: str = "GET", **environ: str) -> Answer:
        """Send a request to Django alone, which is not counted."""
        return call(self.django, target, method, **environ)

    def repeat(self, target: str, method: str = "GET", **environ: str) -> Answer:
        """Send a request that was sent before, and assert that Django is not asked again."""
        before = self.asked
        answer = self.request(target, method, **environ)
        assert self.asked == before, f"Django was asked for {method} {target} {environ}"
        return answer


def build_environ(target: str, method: str = "GET", **environ: str) -> dict[str, Any]:
    path, _, query = target.partition("?")
    return {
        "REQUEST_METHOD": method, "SCRIPT_NAME": "", "PATH_INFO": path, "QUERY_STRING": query, "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000", "SERVER_PROTOCOL": "HTTP/1.1", "REMOTE_ADDR": "192.0.2.1", "CONTENT_LENGTH": "0",
        "HTTP_HOST": "127.0.0.1:8000", "HTTP_X_REQUEST_ID": "request-1", "wsgi.url_scheme": "http", "wsgi.input": BytesIO(),
        **environ,
    }  # fmt: skip


def call(application: Any, target: str, method: str = "GET", **environ: str) -> Answer:
    """Call a WSGI application as a server does."""
    head: list[Any] = []
    response = application(
        build_environ(target, method, **environ), lambda status, headers, exc_info=None: head.append((status, headers))
    )
    body = b"".join(response)
    if close := getattr(response, "close", None):
        close()
    return Answer(*head[-1], body)
