"""Addresses: each says who may call it, and the file of subscriptions says who listens."""

import pytest
from django.core.management import call_command
from django.http import HttpResponse
from django.urls import URLPattern, get_resolver, path

from shop.rest import ANYONE, Anyone, View, endpoint

METHODS = ("get", "post", "put", "patch", "delete")
# What stands outside of the API, and why: the front page, operations, public documents, and the
# admin, which has its own sign-in.
OUTSIDE = ("", "health", "ready", "api/schema", "api/docs/", ".well-known/jwks.json")


def routes(patterns, prefix=""):
    """Every pattern with its whole address."""
    for pattern in patterns:
        address = prefix + str(pattern.pattern)
        if isinstance(pattern, URLPattern):
            yield address, pattern.callback
        else:
            yield from routes(pattern.url_patterns, address)


def without_an_entry(patterns):
    """Methods of API views that do not say who may call them; and whatever else stands in the API."""
    found = []
    for address, callback in routes(patterns):
        view = getattr(callback, "cls", None)
        if address in OUTSIDE or address.startswith("admin/"):
            continue
        if view is None or not issubclass(view, View):
            found.append(f"{address} is no View")
            continue
        methods = [name for name in METHODS if hasattr(view, name)]
        found += [f"{name} {address}" for name in methods if not isinstance(getattr(getattr(view, name), "who", None), Anyone)]
        found += [] if methods and view.context else [f"{address} has no method or no context"]
    return found


def test_every_address_of_the_api_says_who_may_call_it():
    assert without_an_entry(get_resolver("config.urls").url_patterns) == []


def test_there_are_addresses():
    assert len(list(routes(get_resolver("config.urls").url_patterns))) > 20


class Careless(View):
    context = "orders"

    def get(self, request):
        return HttpResponse()

    @endpoint(who=ANYONE, answers={200: None})
    def post(self, request):
        """Say who may."""


@pytest.mark.parametrize(
    ("planted", "said"),
    [
        (path("api/v1/planted", Careless.as_view()), "get api/v1/planted"),
        (path("api/v1/bare", lambda request: HttpResponse()), "api/v1/bare is no View"),
        (path("elsewhere", lambda request: HttpResponse()), "elsewhere is no View"),
        (path("healthy", lambda request: HttpResponse()), "healthy is no View"),
        (path("api/v1/empty", View.as_view()), "api/v1/empty has no method or no context"),
    ],
)
def test_a_planted_address_without_an_entry_is_found(planted, said):
    assert without_an_entry([planted]) == [said]


def test_no_address_of_the_api_lets_a_nul_through():
    """`<str:>` and `<path:>` take any character; the others cannot."""
    addresses = [address for address, _ in routes(get_resolver("config.urls").url_patterns) if address.startswith("api/v1/")]
    assert [address for address in addresses if "<str:" in address or "<path:" in address] == []


def test_no_address_of_the_api_ends_with_a_slash():
    addresses = [address for address, _ in routes(get_resolver("config.urls").url_patterns)]
    assert [address for address in addresses if address.startswith("api/v1/") and address.endswith("/")] == []


def test_the_subscriptions_file_is_current():
    call_command("subscriptions", check=True)
