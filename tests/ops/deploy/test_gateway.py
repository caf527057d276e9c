"""The gateway routes each path of the API to its context, and to no other."""

import json
import re

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.urls import URLPattern

from config.urls import build_api_urlpatterns
from ops.deploy import gateway
from shop.errors import list_error_classes


def hosts(path):
    """Return the contexts whose routes match."""
    return [
        context
        for context, found in gateway.build_routes().items()
        if any(re.search(pattern, path) for pattern in found)
    ]


def paths(context):
    """Generate an example of each path of a context."""
    for entry in build_api_urlpatterns((context,)):
        inside = [""] if isinstance(entry, URLPattern) else [one.pattern for one in entry.url_patterns]
        yield from (re.sub("<[^>]*>", "x1", f"/{entry.pattern}{pattern}") for pattern in inside)


@pytest.mark.parametrize("context", settings.ALL_CONTEXTS)
def test_every_path_is_routed_to_its_context_only(context):
    found = {path: hosts(path) for path in paths(context)}
    assert found
    assert {path: where for path, where in found.items() if where != [context]} == {}


@pytest.mark.parametrize(
    ("path", "where"),
    [("/admin/inventory/stock/", ["inventory"]), ("/admin/", []), ("/api/docs/", []), ("/api/v1/ordersandmore", []),
     ("/inventory/reserve", []), ("/api/v1/products/mug", ["inventory"])],
)  # fmt: skip
def test_paths_of_no_context_are_routed_to_the_front(path, where):
    assert hosts(path) == where


def test_the_configuration_names_every_upstream_and_route(capsys):
    call_command("gateway", "payments=10.0.0.3:9000", listen="127.0.0.1:80")
    configuration = capsys.readouterr().out
    assert "upstream payments { server 10.0.0.3:9000;" in configuration
    assert "upstream users { server users:8000;" in configuration
    assert "listen 127.0.0.1:80;" in configuration
    assert configuration.count("proxy_pass") == sum(map(len, gateway.build_routes().values())) + 2, "also / and /ready"


@pytest.mark.parametrize("given", ["shipping=a:1", "orders", "orders="])
def test_an_invalid_upstream_is_refused(given):
    with pytest.raises(CommandError, match="use <context>=<host>:<port>"):
        call_command("gateway", given)


def list_own_errors():
    """Return the problem that nginx sends for each of its own errors, by the status that it has for it."""
    configuration = gateway.render_nginx({context: f"{context}:8000" for context in settings.ALL_CONTEXTS}, "8080")
    found = re.findall(
        r"error_page (\d+) (\S+);\n    location = (\S+) \{.*?return (\d+) '(.*?)';", configuration, re.DOTALL
    )
    assert all(page == location for _, page, location, _, _ in found)
    return {int(status): (int(sent), json.loads(body.replace("\\'", "'"))) for status, _, _, sent, body in found}


def test_the_gateway_answers_its_own_errors_with_problems():
    errors = list_own_errors()
    assert errors.keys() >= {400, 405, 408, 413, 414, 494, 502, 504}
    codes = {cls.code for cls in list_error_classes()}
    for status, (sent, problem) in errors.items():
        assert problem["status"] == sent == (400 if status == 494 else status)
        assert problem["code"] in codes and problem["type"] == f"/api/docs/errors#{problem['code']}"
    assert errors[413][1]["code"] == "shop.too_large"
    assert errors[502][1]["code"] == "shop.unavailable"


def test_a_storefront_can_read_the_errors_of_the_gateway():
    configuration = gateway.render_nginx({context: f"{context}:8000" for context in settings.ALL_CONTEXTS}, "8080")
    assert configuration.count("add_header Access-Control-Allow-Origin * always;") == len(list_own_errors())
    assert configuration.count("add_header Retry-After 1 always;") == 2


def test_the_gateway_accepts_as_large_a_body_as_the_shop(settings):
    settings.MAX_BODY_BYTES = 5_000_000
    assert "client_max_body_size 5000000;" in gateway.render_nginx({c: c for c in settings.ALL_CONTEXTS}, "8080")
