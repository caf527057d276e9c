"""The middleware of pages that people open, which requests to the API pass by.

The API has neither sessions nor forms nor messages. Its callers are authenticated by tokens: no other site can use the cookies
of a browser to act for them.
"""

from collections.abc import Callable
from typing import cast

from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import CsrfViewMiddleware

API_PATH = "/api/v1/"
PAGE_MIDDLEWARE = (SessionMiddleware, CsrfViewMiddleware, MessageMiddleware)

Respond = Callable[[HttpRequest], HttpResponse]


class SkipPageMiddleware:
    """Let requests to the API pass by the PAGE_MIDDLEWARE that follows in MIDDLEWARE without another one in between."""

    def __init__(self, get_response: Respond) -> None:
        self.respond_to_page = get_response
        self.respond_to_api = _skip_page_middleware(get_response)

    def __call__(self, request: HttpRequest) -> HttpResponse:
        respond = self.respond_to_api if request.path.startswith(API_PATH) else self.respond_to_page
        return respond(request)


def _skip_page_middleware(respond: Respond) -> Respond:
    """Return the first of the following functions that is not PAGE_MIDDLEWARE, which Django wraps to handle its exceptions."""
    while isinstance(middleware := getattr(respond, "__wrapped__", None), PAGE_MIDDLEWARE):
        respond = cast(Respond, middleware.get_response)  # MIDDLEWARE is synchronous
    return respond
