"""Headers for browsers besides the Content-Security-Policy, cookies, redirects, and requests that other sites could make."""

import re

import pytest

from tests.config.test_security_headers import list_admin_pages
from tests.config.test_settings import HTTPS, read_settings  # noqa: F401  fixtures
from tests.http_client import Client
from tests.inventory.staff_clients import authorization_header
from tests.staff_accounts import sign_in_to_admin
from tests.users.accounts import PASSWORD
from tests.users.test_staff import staff_member

ANSWERS = ("/", "/health", "/nowhere", "/api/v1/products", "/api/v1/orders", "/admin/login/", "/api/docs/", "/static/")
TEXTS = {
    "/admin/login/": "text/html; charset=utf-8",
    "/api/docs/": "text/html; charset=utf-8",
    "/api/docs/errors": "text/html; charset=utf-8",
    "/.well-known/security.txt": "text/plain; charset=utf-8",
    "/static/admin/css/base.css": 'text/css; charset="utf-8"',
    "/api/v1/products": "application/json",  # always UTF-8, and without a parameter: RFC 8259, 8.1 and 11
    "/api/v1/orders": "application/problem+json",
}


@pytest.mark.parametrize("path", ANSWERS)
def test_every_response_forbids_guesses_of_its_type_frames_and_foreign_referrers(path):
    response = Client().get(path)
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Referrer-Policy"] == "same-origin"
    assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]


def test_a_preflight_has_a_referrer_policy():
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    assert Client().options("/api/v1/orders", headers=headers).headers.get("Referrer-Policy") == "same-origin"


@pytest.mark.parametrize("path", TEXTS)
def test_a_response_names_its_type_and_its_encoding(path):
    assert Client().get(path).headers["Content-Type"] == TEXTS[path]


@pytest.mark.parametrize("path", ["/", "/api/v1/products", "/api/v1/orders", "/admin/login/", "/health", "/nowhere"])
def test_with_https_every_response_asks_for_https_for_a_year(path, settings, read_settings, in_one_process):  # noqa: F811
    settings.SECURE_HSTS_SECONDS = read_settings("s.SECURE_HSTS_SECONDS", **HTTPS)
    assert Client().get(path, secure=True).headers["Strict-Transport-Security"] == "max-age=31536000"


def test_cookies_are_not_sent_with_requests_of_other_sites_and_hidden_from_scripts(settings):
    client = Client()
    client.get("/admin/login/")
    client.post("/admin/login/", {"username": staff_member().email, "password": PASSWORD})
    client.post("/admin/events/", {"context": "orders", "row": "1", "what": "nothing"})  # which leaves a message
    assert {settings.MESSAGE_COOKIE_NAME, settings.SESSION_COOKIE_NAME, settings.CSRF_COOKIE_NAME} <= set(
        client.cookies
    )
    assert [(cookie["samesite"], cookie["httponly"]) for cookie in client.cookies.values()] == [
        ("Lax", True) for _ in client.cookies
    ]


def test_the_api_knows_no_cookies():
    client = sign_in_to_admin("*")
    for path in ("/api/v1/staff/variants/NONE", "/api/v1/users/me", "/api/v1/orders"):
        response = client.get(path)
        assert (response.status_code, len(response.cookies)) == (401, 0), path
    assert client.get("/api/v1/staff/variants/NONE", headers=authorization_header("*")).status_code == 404


FOREIGN = ("https://evil.example/", "//evil.example", "https:evil.example", "\\\\evil.example", "javascript:alert(1)")


@pytest.mark.parametrize("target", [*FOREIGN, "/admin/orders/order/"])
def test_a_sign_in_leads_to_pages_of_this_site_only(target):
    form = {"username": staff_member().email, "password": PASSWORD, "next": target}
    response = Client().post("/admin/login/", form)
    assert response.status_code == 302
    assert response.headers["Location"] == ("/admin/" if target in FOREIGN else target)


def test_every_page_of_the_admin_has_a_button_to_sign_out():
    client = sign_in_to_admin("*")
    for path in list_admin_pages():
        form = re.search(r'<form[^>]*action="/admin/logout/"[^>]*>', client.get(path).content.decode())
        assert form and 'method="post"' in form[0], path


def test_after_a_sign_out_the_browser_forgets_the_site():
    response = sign_in_to_admin("*").post("/admin/logout/")
    assert response.headers.get("Clear-Site-Data") == '"cache", "storage"'


@pytest.mark.parametrize(
    ("path", "purposes"),
    [
        ("/admin/login/", ["current-password"]),
        ("/admin/password_change/", ["current-password", "new-password", "new-password"]),
    ],
)
def test_a_password_is_hidden_and_can_be_filled_in_by_a_password_manager(path, purposes):
    client = Client() if path == "/admin/login/" else sign_in_to_admin("*")
    page = client.get(path).content.decode()
    fields = [field for field in re.findall(r"<input[^>]*>", page) if re.search(r'name="[a-z_]*password', field)]
    assert [re.search(r'autocomplete="([^"]*)"', field)[1] for field in fields] == purposes
    assert ['type="password"' in field for field in fields] == [True] * len(purposes)
    assert "onpaste" not in page


@pytest.mark.parametrize("path", ["/static/", "/static/admin/", "/static/admin/css/"])
def test_no_folder_is_listed(path):
    assert Client().get(path).status_code == 404


@pytest.mark.parametrize(
    "path", ["/", "/health", "/ready", "/api/v1/products", "/api/openapi.json", "/api/docs/errors"]
)
def test_trace_is_not_allowed(path):
    assert Client().trace(path).status_code == 405
