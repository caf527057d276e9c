"""Browsers may call the API from the configured origins, and from no others (the Fetch standard, CORS protocol)."""

import pytest
from django.test import Client, override_settings
from django.urls import reverse

from shop.request_buffer import BODY_PROBLEM
from tests.config.test_settings import check  # noqa: F401  fixtures

SHOP, OTHER = "https://front.example", "https://evil.example"
EXPOSED = "ETag, Location, Retry-After, X-Request-ID, RateLimit, RateLimit-Policy"
REQUEST_HEADERS = {
    "authorization", "content-type", "idempotency-key", "if-match", "if-none-match", "x-order-token", "accept-language",
    "x-request-id", "traceparent",
}  # fmt: skip


@pytest.fixture
def browser(settings):
    settings.CORS_ALLOWED_ORIGINS = [SHOP]
    return Client()


def preflight(browser, path, origin=SHOP, method="POST"):
    return browser.options(
        path,
        headers={
            "Origin": origin,
            "Access-Control-Request-Method": method,
            "Access-Control-Request-Headers": "authorization,idempotency-key",
        },
    )


@pytest.mark.parametrize(
    "path", ["/api/v1/orders", "/api/v1/users/me", "/api/v1/staff/orders", "/.well-known/jwks.json"]
)
def test_a_preflight_is_answered_without_authentication(browser, path):
    response = preflight(browser, path)
    assert response.status_code == 200
    assert response["Access-Control-Allow-Origin"] == SHOP
    assert set(response["Access-Control-Allow-Headers"].split(", ")) == REQUEST_HEADERS
    assert {"GET", "POST", "PUT", "PATCH", "DELETE"} <= set(response["Access-Control-Allow-Methods"].split(", "))
    assert "Access-Control-Allow-Credentials" not in response
    assert "origin" in response["Vary"].lower()


@pytest.mark.parametrize(
    "origin", [OTHER, "null", "http://front.example", "https://front.example:8443", f"{SHOP}.evil.example"]
)
def test_another_origin_gets_no_permission(browser, origin):
    assert "Access-Control-Allow-Origin" not in preflight(browser, "/api/v1/orders", origin)
    assert "Access-Control-Allow-Origin" not in browser.get("/api/v1/categories", headers={"Origin": origin})


ANSWERS = {
    200: ("GET", "/api/v1/categories", {}),
    401: ("GET", "/api/v1/users/me", {}),
    404: ("GET", "/api/v1/nowhere", {}),
    405: ("DELETE", "/api/v1/orders", {}),
    400: ("POST", "/api/v1/orders", {"Idempotency-Key": "some-key-0001"}),
}


@pytest.mark.parametrize("status", ANSWERS)
def test_responses_and_errors_can_be_read_by_the_storefront(browser, status):
    method, path, headers = ANSWERS[status]
    response = browser.generic(method, path, b"[", "application/json", headers={"Origin": SHOP, **headers})
    assert response.status_code == status
    assert response["Access-Control-Allow-Origin"] == SHOP
    assert response["Access-Control-Expose-Headers"] == EXPOSED
    assert response["X-Request-ID"]


def test_a_request_for_an_unknown_host_is_an_error_that_the_storefront_can_read(browser):
    response = browser.get("/api/v1/categories", headers={"Origin": SHOP, "Host": "unknown.example"})
    assert (response.status_code, response["Access-Control-Allow-Origin"]) == (400, SHOP)


@pytest.mark.parametrize(("problem", "status"), [("timed_out", 408), ("no_length", 411), ("too_large", 413)])
def test_a_body_that_was_not_received_is_an_error_that_the_storefront_can_read(browser, problem, status):
    unread = {BODY_PROBLEM: problem}
    response = browser.post("/api/v1/orders", {}, "application/json", headers={"Origin": SHOP}, **unread)
    assert (response.status_code, response["Access-Control-Allow-Origin"]) == (status, SHOP)


@pytest.mark.parametrize("path", ["/admin/login/", "/health"])
def test_only_the_api_is_shared(browser, path):
    assert "Access-Control-Allow-Origin" not in browser.get(path, headers={"Origin": SHOP})
    assert "Access-Control-Allow-Origin" not in preflight(browser, path)


def test_a_preflight_is_not_redirected_to_https(browser, settings):
    with override_settings(SECURE_SSL_REDIRECT=True):
        assert preflight(Client(), "/api/v1/orders").status_code == 200


def test_without_the_setting_no_origin_is_allowed():
    assert "Access-Control-Allow-Origin" not in preflight(Client(), "/api/v1/orders")
    assert reverse("docs")  # the control: the site is there


LOCAL = {
    "http://localhost:3000": True, "https://localhost": True, "http://127.0.0.1:5173": True, "http://[::1]:8080": True,
    "http://localhost.evil.example": False, "http://localhost:3000.evil.example": False, "http://10.0.0.7:3000": False,
    "http://evil.example#http://localhost:3000": False, "http://localhost:3000\n": False,
}  # fmt: skip


@pytest.mark.parametrize(("origin", "is_allowed"), LOCAL.items())
def test_for_development_every_port_of_localhost_is_allowed(settings, origin, is_allowed):
    from config.settings.security import LOCALHOST_ORIGIN

    settings.CORS_ALLOWED_ORIGIN_REGEXES = [LOCALHOST_ORIGIN]
    response = Client().get("/api/v1/categories", headers={"Origin": origin})
    assert ("Access-Control-Allow-Origin" in response) == is_allowed


WRONG = [
    "*", "https://*.shop.example", "shop.example", "https://shop.example/", "https://shop.example/app", "https://Shop.example",
    "https://shop.example:443", "http://shop.example:80", "https://u@shop.example", "https://shop.example?x", "ftp://shop.example",
    "null", "https://", "https://shop.example:port", "https://shop.example,,https://a.example",
]  # fmt: skip


@pytest.mark.parametrize("origin", WRONG)
def test_what_is_no_exact_origin_is_refused_at_start(origin, check):  # noqa: F811
    done = check(CORS_ALLOWED_ORIGINS=origin)
    assert done.returncode != 0
    assert "CORS_ALLOWED_ORIGINS cannot be read" in done.stderr
    assert "Traceback" not in done.stderr


def test_exact_origins_are_accepted(check):  # noqa: F811
    done = check(
        CORS_ALLOWED_ORIGINS="https://shop.example,http://localhost:3000, http://[::1]:8080,https://xn--bcher-kva.example"
    )
    assert done.returncode == 0, done.stderr
