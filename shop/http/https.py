"""Refuse requests over plain http that a redirect would only hide: those of clients, and those with credentials."""

import re
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from shop.errors import Forbidden
from shop.http.problems import handle_request_exception

SAFE_METHODS = ("GET", "HEAD")
CREDENTIAL_HEADERS = ("Authorization", "X-Order-Token")
TOKEN_PARAMETER = "token"
API_PATHS = ("/api/", "/.well-known/")
PAGES_OF_API = ("/api/docs/", "/api/docs/errors")


class HttpsRequired(Forbidden):
    """This request needs https. Nothing was done.

    Over http, others in the network can read and change a request, and use its credentials.
    """

    remedy = (
        "Send the request by https, to the address of the shop. Replace a password or token that was sent over http."
    )


class RequireHttps:
    """Refuse a request over http, unless a person opens a page: Django's SecurityMiddleware, which follows, redirects that.

    A client that is redirected works, and sends its credentials in clear text each time. If SECURE_SSL_REDIRECT is off,
    everything is served.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not settings.SECURE_SSL_REDIRECT or request.is_secure() or _may_use_http(request):
            return self.get_response(request)
        return handle_request_exception(request, HttpsRequired())


def _may_use_http(request: HttpRequest) -> bool:
    """Return whether the path is exempt, or a person may have typed its address: no credential is sent, and nothing changes."""
    path = request.path.lstrip("/")
    if any(re.search(pattern, path) for pattern in settings.SECURE_REDIRECT_EXEMPT):
        return True
    is_api = request.path.startswith(API_PATHS) and request.path not in PAGES_OF_API
    return request.method in SAFE_METHODS and not is_api and not _has_credential(request)


def _has_credential(request: HttpRequest) -> bool:
    has_header = any(name in request.headers for name in CREDENTIAL_HEADERS)
    return has_header or TOKEN_PARAMETER in request.GET or settings.SESSION_COOKIE_NAME in request.COOKIES
