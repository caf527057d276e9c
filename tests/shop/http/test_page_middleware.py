"""Sessions, CSRF checks and messages are for pages; requests to the API pass by them."""

import pytest
from django.conf import settings
from django.contrib.messages import get_messages
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.urls import get_resolver

from shop.http import page_middleware
from shop.http.page_middleware import API_PATH, PAGE_MIDDLEWARE, SkipPageMiddleware
from tests.architecture.test_routes import routes


@pytest.fixture
def seen_by(monkeypatch):
    """Return a function that sends a request through MIDDLEWARE and returns what its view would be given."""

    def send(path: str, **cookies: str):
        seen = []
        handler = WSGIHandler()
        handler._get_response = lambda request: seen.append(request) or HttpResponse()
        handler.load_middleware()
        request = RequestFactory().get(path)
        request.COOKIES.update(cookies)
        response = handler.get_response(request)
        assert seen, f"no view was called: {response.status_code}"
        return seen[0], response

    return send


def test_a_request_to_the_api_has_no_session_and_no_messages(seen_by):
    request, response = seen_by(f"{API_PATH}products", **{settings.CSRF_COOKIE_NAME: "malformed"})
    assert not hasattr(request, "session")
    assert not list(get_messages(request))
    assert not response.cookies
    assert request.user.is_authenticated is False


@pytest.mark.parametrize("path", ["/admin/login/", "/api/docs/", "/", "/api", "/api/v2/products"])
def test_a_page_has_a_session_and_messages(seen_by, path):
    request, _ = seen_by(path)
    assert request.session.is_empty()
    assert hasattr(request, "_messages")


def test_a_form_of_the_admin_needs_the_token_of_its_page():
    response = Client(enforce_csrf_checks=True).post("/admin/login/", {"username": "ada@example.com", "password": "x"})
    assert response.status_code == 403


def test_no_view_of_the_api_relies_on_the_csrf_check():
    """A view that reads cookies would need it: those of the API read the access token only."""
    views = [(f"/{address}", view) for address, view in routes(get_resolver("config.urls").url_patterns)]
    of_the_api = [(address, view) for address, view in views if address.startswith(API_PATH)]
    assert len(of_the_api) > 20
    assert [address for address, view in of_the_api if not getattr(view, "csrf_exempt", False)] == []


def test_all_of_the_page_middleware_follows_in_one_row():
    """Another one in between would be passed by, or would keep the rest from it."""
    names = [name.rpartition(".")[2] for name in settings.MIDDLEWARE]
    first = names.index(SkipPageMiddleware.__name__) + 1
    row = names[first : first + len(PAGE_MIDDLEWARE)]
    assert sorted(row) == sorted(middleware.__name__ for middleware in PAGE_MIDDLEWARE)
    assert page_middleware.API_PATH == "/api/v1/"
