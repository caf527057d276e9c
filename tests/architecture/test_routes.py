"""Routes: each declares its callers, none accepts a NUL character, and the subscriptions file is current."""

import pytest
from django.core.management import call_command
from django.http import HttpResponse
from django.urls import URLPattern, get_resolver, path

from shop.http.rest import ANYONE, Anyone, View, endpoint

METHODS = ("get", "post", "put", "patch", "delete")
# Routes outside of the API: the front page, operations, public documents.
# The admin has its own sign-in.
OUTSIDE = (
    "", "health", "ready", "api/openapi.json", "api/schema", "api/docs/", "api/docs/errors", ".well-known/jwks.json",
    ".well-known/security.txt",
)  # fmt: skip


def routes(patterns, prefix=""):
    """Yield every pattern with its whole path."""
    for pattern in patterns:
        address = prefix + str(pattern.pattern)
        if isinstance(pattern, URLPattern):
            yield address, pattern.callback
        else:
            yield from routes(pattern.url_patterns, address)


def find_undeclared_routes(patterns):
    """Return the methods of API views that do not declare their callers, and routes that are no API view."""
    found = []
    for address, callback in routes(patterns):
        view = getattr(callback, "cls", None)
        if address in OUTSIDE or address.startswith("admin/"):
            continue
        if view is None or not issubclass(view, View):
            found.append(f"{address} is no View")
            continue
        methods = [name for name in METHODS if hasattr(view, name)]
        found += [
            f"{name} {address}"
            for name in methods
            if not isinstance(getattr(getattr(view, name), "access", None), Anyone)
        ]
        found += [] if methods and view.context else [f"{address} has no method or no context"]
    return found


def test_every_api_route_declares_its_callers():
    assert find_undeclared_routes(get_resolver("config.urls").url_patterns) == []


def test_routes_are_found():
    assert len(list(routes(get_resolver("config.urls").url_patterns))) > 20


class UndeclaredView(View):
    context = "orders"

    def get(self, request):
        return HttpResponse()

    @endpoint(access=ANYONE, responses={200: None})
    def post(self, request):
        """Accept any caller."""


@pytest.mark.parametrize(
    ("planted", "expected"),
    [
        (path("api/v1/planted", UndeclaredView.as_view()), "get api/v1/planted"),
        (path("api/v1/bare", lambda request: HttpResponse()), "api/v1/bare is no View"),
        (path("elsewhere", lambda request: HttpResponse()), "elsewhere is no View"),
        (path("healthy", lambda request: HttpResponse()), "healthy is no View"),
        (path("api/v1/empty", View.as_view()), "api/v1/empty has no method or no context"),
    ],
)
def test_a_planted_undeclared_route_is_found(planted, expected):
    assert find_undeclared_routes([planted]) == [expected]


def test_no_api_route_accepts_a_nul_character():
    """`<str:>` and `<path:>` accept any character; the other converters do not."""
    addresses = [
        address for address, _ in routes(get_resolver("config.urls").url_patterns) if address.startswith("api/v1/")
    ]
    assert [address for address in addresses if "<str:" in address or "<path:" in address] == []


def test_no_api_route_ends_with_a_slash():
    addresses = [address for address, _ in routes(get_resolver("config.urls").url_patterns)]
    assert [address for address in addresses if address.startswith("api/v1/") and address.endswith("/")] == []


def test_the_subscriptions_file_is_current():
    call_command("subscriptions", check=True)
