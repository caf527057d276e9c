"""Security headers and cookies: what pages may load, which responses are kept, which cookies belong to this host alone."""

import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import pytest
from django.conf import settings as configured
from django.contrib import admin
from django.urls import reverse

from shop.db.database import hosted_contexts
from shop.http import security_headers
from tests.config.test_settings import HTTPS, read_settings  # noqa: F401  fixtures
from tests.factories import create_sku
from tests.http_client import Client
from tests.inventory.staff_clients import authorization_header
from tests.orders.conftest import shopper  # noqa: F401  a fixture
from tests.staff_accounts import sign_in_to_admin
from tests.users.accounts import issue_tokens, post, register_person, send

PAGES = ("/api/docs/", "/api/docs/errors", "/admin/login/")
PUBLIC = {
    "/api/v1/products": "public, max-age=0, must-revalidate",
    "/.well-known/jwks.json": "public, max-age=300",
    "/.well-known/security.txt": "public, max-age=3600",
    "/api/openapi.json": "no-cache",
}


def parse_policy(response) -> dict[str, list[str]]:
    directives = response.headers["Content-Security-Policy"].split("; ")
    return {name: values for name, *values in (directive.split(" ") for directive in directives)}


class Inline(HTMLParser):
    """Find what a policy without 'unsafe-inline' refuses, unless it has the nonce."""

    def __init__(self, nonce: str) -> None:
        super().__init__()
        self.nonce, self.refused, self.allowed = nonce, [], []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.refused += [f"{tag} {name}" for name in given if name == "style" or name.startswith("on")]
        self.refused += [f"{tag} {name}" for name in ("href", "src") if str(given.get(name)).startswith("javascript:")]
        is_data = given.get("type", "").endswith("json")
        if tag == "style" or (tag == "script" and "src" not in given and not is_data):
            (self.allowed if given.get("nonce") == self.nonce else self.refused).append(tag)


def find_inline(response) -> Inline:
    [nonce] = [source[7:-1] for source in parse_policy(response)["script-src"] if source.startswith("'nonce-")]
    found = Inline(nonce)
    found.feed(response.content.decode())
    return found


def list_admin_pages() -> list[str]:
    """List the pages of the admin that exist without any row."""
    lists = [
        reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist") for model in admin.site._registry
    ]
    apps = [reverse("admin:app_list", args=[context]) for context in hosted_contexts()]
    names = ("index", "parked_events", "password_change")
    return [*lists, *apps, *(reverse(f"admin:{name}") for name in names)]


@pytest.mark.parametrize("path", ["/api/v1/products", "/api/v1/orders", "/health", "/nowhere", "/api/openapi.json"])
def test_a_response_that_is_no_page_may_load_nothing(path):
    policy = Client().get(path).headers["Content-Security-Policy"]
    assert policy == "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def test_a_preflight_and_a_refusal_of_the_first_middleware_have_the_headers():
    for response in (
        Client().options(
            "/api/v1/orders", headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
        ),
        Client().get("/health", headers={"Host": "evil.example"}),
    ):
        assert response.headers["Content-Security-Policy"] == security_headers.DENY_ALL
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", PAGES)
def test_a_page_runs_only_what_has_the_nonce_of_its_request(path):
    responses = [Client().get(path) for _ in range(2)]
    for response in responses:
        assert response.status_code == 200
        policy = parse_policy(response)
        assert [policy[name] for name in ("default-src", "base-uri", "frame-ancestors")] == [["'none'"]] * 3
        assert "unsafe" not in response.headers["Content-Security-Policy"]
        assert find_inline(response).refused == []
    first, second = (parse_policy(response)["script-src"] for response in responses)
    assert first != second


def test_the_script_of_the_documentation_has_the_nonce():
    assert find_inline(Client().get("/api/docs/")).allowed == ["script"]


def test_no_page_of_the_admin_has_inline_styles_or_scripts():
    client = sign_in_to_admin("*")
    for path in list_admin_pages():
        response = client.get(path)
        assert response.status_code == 200, path
        assert find_inline(response).refused == [], path
        assert "no-store" in response.headers["Cache-Control"]


def test_no_form_of_the_admin_has_inline_styles_or_scripts():
    client, sku = sign_in_to_admin("*"), create_sku(3)
    page = client.get("/admin/inventory/variant/", {"q": sku}).content.decode()
    path = re.search(r"/admin/inventory/variant/[^\"]+/change/", page)[0]
    for address in (path, f"{path.removesuffix('change/')}history/"):
        response = client.get(address)
        assert (response.status_code, find_inline(response).refused) == (200, []), address


def test_an_error_page_of_the_admin_has_no_inline_styles():
    response = sign_in_to_admin("*").get("/admin/nowhere/")
    assert response.status_code == 404
    assert find_inline(response).refused == []


def test_a_form_without_a_token_gets_a_page_without_inline_styles():
    response = Client(enforce_csrf_checks=True).post("/admin/login/", {"username": "a@example.com", "password": "x"})
    assert (response.status_code, find_inline(response).refused) == (403, [])
    assert b"The form has expired" in response.content


def test_no_page_shares_its_window_with_another_site():
    for path in PAGES:
        assert Client().get(path).headers["Cross-Origin-Opener-Policy"] == "same-origin"


def test_every_response_switches_the_features_of_browsers_off():
    for path in ("/api/v1/products", "/admin/login/", "/api/docs/"):
        policy = Client().get(path).headers["Permissions-Policy"]
        assert {"camera=()", "microphone=()", "geolocation=()", "payment=()", "usb=()"} <= set(policy.split(", "))


def test_public_responses_may_be_kept():
    assert {path: Client().get(path).headers["Cache-Control"] for path in PUBLIC} == PUBLIC


def test_a_customers_answers_are_kept_nowhere():
    token, refresh = issue_tokens(register_person())
    for response in (
        send("get", "users/me", token=token),
        send("get", "users/me/addresses", token=token),
        send("get", "orders", token=token),
        send("get", "notifications", token=token),
        send("get", "users/me"),
        post("auth/token/refresh", {"refresh": refresh}),
    ):
        assert response.headers["Cache-Control"] == "no-store", response.wsgi_request.path


def test_a_guests_answers_are_kept_nowhere(shopper):  # noqa: F811
    sku = create_sku(5)
    cart = shopper.post("carts")
    answers = [
        cart,
        shopper.send("PUT", f"carts/{cart.body['id']}/items/{sku}", {"quantity": 1}),
        shopper.get(f"carts/{cart.body['id']}"),
        order := shopper.order(sku),
        shopper.get(f"orders/{order.body['id']}", X_Order_Token=order.body["token"]),
    ]
    assert [(answer.status, answer.headers["cache-control"]) for answer in answers] == [
        (201, "no-store"), (200, "no-store"), (200, "no-store"), (201, "no-store"), (200, "no-store"),
    ]  # fmt: skip


def test_answers_to_staff_are_kept_nowhere():
    sku = create_sku(3)
    response = Client().get(f"/api/v1/staff/variants/{sku}", headers=authorization_header("*"))
    assert (response.status_code, response.headers["Cache-Control"]) == (200, "no-store")


def test_cookies_belong_to_the_host_alone_behind_https(read_settings):  # noqa: F811
    names = "[s.SESSION_COOKIE_NAME, s.CSRF_COOKIE_NAME, s.MESSAGE_COOKIE_NAME]"
    assert read_settings(names, **HTTPS) == ["__Host-sessionid", "__Host-csrftoken", "__Host-messages"]
    assert read_settings(names) == ["sessionid", "csrftoken", "messages"]
    cookies = "[s.SESSION_COOKIE_SECURE, s.CSRF_COOKIE_SECURE, s.SESSION_COOKIE_HTTPONLY, s.CSRF_COOKIE_HTTPONLY]"
    assert read_settings(cookies, **HTTPS) == [True] * 4


def test_a_cookie_meets_the_rules_of_its_prefix(settings):
    settings.CSRF_COOKIE_NAME, settings.CSRF_COOKIE_SECURE = "__Host-csrftoken", True
    [cookie] = Client().get("/admin/login/").cookies.values()
    assert (cookie.key, cookie["path"], cookie["domain"], cookie["secure"], cookie["httponly"]) == (
        "__Host-csrftoken", "/", "", True, True,
    )  # fmt: skip


def test_messages_are_in_a_cookie_of_that_name():
    client = sign_in_to_admin("*")
    client.post("/admin/events/", {"context": "orders", "row": "1", "what": "nothing"})
    assert configured.MESSAGE_COOKIE_NAME in client.cookies


def test_staff_sign_out_by_post_only():
    client = sign_in_to_admin("*")
    response = client.get("/admin/logout/")
    assert response.status_code == 405
    assert response.headers["Allow"] == "POST"
    assert client.get("/admin/").status_code == 200
    assert client.post("/admin/logout/").status_code == 302
    assert client.get("/admin/").status_code == 302


def test_the_documentation_keeps_no_token():
    page = Client().get("/api/docs/").content.decode()
    assert '"persistAuthorization": false' in page
    assert 'localStorage.removeItem("authorized")' in page
    assert "localStorage.setItem" not in page


def test_security_txt_lists_the_contacts(settings):
    settings.SECURITY_CONTACT = ["mailto:security@shop.example", "https://shop.example/security"]
    settings.SITE_URL = "https://shop.example"
    response = Client().get("/.well-known/security.txt")
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    lines = response.content.decode().splitlines()
    assert lines[:2] == ["Contact: mailto:security@shop.example", "Contact: https://shop.example/security"]
    assert "Canonical: https://shop.example/.well-known/security.txt" in lines
    [expires] = [line.removeprefix("Expires: ") for line in lines if line.startswith("Expires: ")]
    left = datetime.fromisoformat(expires) - datetime.now(UTC)
    assert timedelta(days=30) < left < timedelta(days=365)
    assert Client().post("/.well-known/security.txt").status_code == 405


def test_the_address_of_the_contact_is_that_of_the_site(read_settings):  # noqa: F811
    assert read_settings("s.SECURITY_CONTACT", **HTTPS) == ["mailto:security@shop.example"]


SANDBOX_TARGETS = {
    "": ["'self'"],
    "http://localhost:3000/thanks?a=b": ["'self'", "http://localhost:3000"],
    "http://[::1]:3000/": ["'self'", "http:"],
    "http://x;script-src-elem@localhost:3000/": ["'self'", "http://localhost:3000"],
}


@pytest.mark.parametrize(("return_url", "targets"), SANDBOX_TARGETS.items(), ids=SANDBOX_TARGETS)
def test_the_form_of_the_sandbox_may_lead_back_to_the_storefront(shopper, return_url, targets):  # noqa: F811
    order = shopper.order(create_sku(2), token="tok_requires_action").body
    page = "/api/" + order["payment"]["action"]["url"].partition("?")[0].partition("/api/")[2]
    response = Client().get(page, {"return_url": return_url} if return_url else {})
    assert response.status_code == 200
    assert parse_policy(response)["form-action"] == targets
    assert find_inline(response).refused == []
