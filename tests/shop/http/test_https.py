"""Behind https, a request over http is redirected only if a person opens a page; a client gets an error that it notices."""

import json

import pytest
from django.conf import settings as configured
from django.test import Client

from tests.security_log import recorded_events


@pytest.fixture
def http(settings, in_one_process):
    """Return a client that sends plain http to a shop whose address is https."""
    settings.SECURE_SSL_REDIRECT = True
    return Client()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("get", "/api/v1/products"),
        ("head", "/api/v1/products"),
        ("post", "/api/v1/orders"),
        ("put", "/api/v1/carts/00000000-0000-0000-0000-000000000000/items/MUG-1"),
        ("post", "/api/v1/auth/token"),
        ("get", "/api/v1/nothing/here"),
        ("get", "/api/openapi.json"),
        ("get", "/.well-known/jwks.json"),
    ],
)
def test_a_request_of_a_client_over_http_is_refused_and_not_redirected(http, method, path):
    with recorded_events() as find:
        response = getattr(http, method)(path)
    assert response.status_code == 403 and "Location" not in response
    if method != "head":
        assert json.loads(response.content)["code"] == "shop.https_required"
    assert response["Content-Type"] == "application/problem+json"
    assert len(find("authz_fail", reason="shop.https_required", path=path)) == 1


@pytest.mark.parametrize("path", ["/", "/admin/", "/admin/login/?next=/admin/", "/api/docs/", "/api/docs/errors"])
def test_a_page_that_a_person_opens_over_http_is_redirected(http, path):
    response = http.get(path)
    assert (response.status_code, response["Location"]) == (301, f"https://testserver{path}")


@pytest.mark.parametrize(
    "credential",
    [
        {"HTTP_AUTHORIZATION": "Bearer secret"},
        {"HTTP_X_ORDER_TOKEN": "secret"},
        {"QUERY_STRING": "token=secret"},
        {"HTTP_COOKIE": f"{configured.SESSION_COOKIE_NAME}=secret"},
    ],
    ids=lambda one: next(iter(one)),
)
@pytest.mark.parametrize("path", ["/admin/", "/api/docs/"])
def test_a_credential_over_http_is_refused(http, path, credential):
    assert http.get(path, **credential).status_code == 403


def test_a_form_over_http_is_refused(http):
    response = http.post("/admin/login/", {"email": "ada@example.com", "password": "secret"})
    assert response.status_code == 403
    assert b"needs https" in response.content, "a page, as everywhere in the admin"


def test_a_strange_cookie_does_not_keep_a_person_from_the_page(http):
    assert http.get("/admin/", HTTP_COOKIE="consent=yes").status_code == 301


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_probes_are_answered_over_http(http, path):
    assert http.get(path).status_code == 200


def test_with_https_or_without_the_setting_everything_is_served(http, settings):
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    settings.TRUSTED_PROXIES = []
    assert Client().get("/api/v1/categories", secure=True).status_code == 200
    settings.SECURE_SSL_REDIRECT = False
    assert Client().get("/api/v1/categories", HTTP_AUTHORIZATION="").status_code == 200
