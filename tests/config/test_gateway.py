"""The gateway's routes: each path of the API goes to its context, and to no other."""

import re

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.urls import URLPattern

from config import gateway
from config.urls import api


def hosts(path):
    """The contexts whose routes match."""
    return [context for context, found in gateway.routes().items() if any(re.search(pattern, path) for pattern in found)]


def paths(context):
    """An example of each path of a context."""
    for entry in api((context,)):
        inside = [""] if isinstance(entry, URLPattern) else [one.pattern for one in entry.url_patterns]
        yield from (re.sub("<[^>]*>", "x1", f"/{entry.pattern}{pattern}") for pattern in inside)


@pytest.mark.parametrize("context", settings.ALL_CONTEXTS)
def test_every_path_goes_to_its_context_alone(context):
    found = {path: hosts(path) for path in paths(context)}
    assert found
    assert {path: where for path, where in found.items() if where != [context]} == {}


@pytest.mark.parametrize(
    ("path", "where"),
    [("/admin/inventory/stock/", ["inventory"]), ("/admin/", []), ("/api/docs/", []), ("/api/v1/ordersandmore", []),
     ("/inventory/reserve", []), ("/api/v1/products/mug", ["inventory"])],
)  # fmt: skip
def test_what_is_nobodys_in_particular_goes_to_the_front(path, where):
    assert hosts(path) == where


def test_the_configuration_names_every_upstream_and_route(capsys):
    call_command("gateway", "payments=10.0.0.3:9000", listen="127.0.0.1:80")
    said = capsys.readouterr().out
    assert "upstream payments { server 10.0.0.3:9000;" in said
    assert "upstream users { server users:8000;" in said
    assert "listen 127.0.0.1:80;" in said
    assert said.count("proxy_pass") == sum(map(len, gateway.routes().values())) + 1


@pytest.mark.parametrize("given", ["shipping=a:1", "orders", "orders="])
def test_an_upstream_that_is_none_is_refused(given):
    with pytest.raises(CommandError, match="is no <context>=<host>:<port>"):
        call_command("gateway", given)


def test_whoever_ends_tls_in_front_of_it_is_believed_and_nothing_else_is_passed_on():
    said = gateway.nginx({context: f"{context}:8000" for context in settings.ALL_CONTEXTS}, "8080")
    assert "map $http_x_forwarded_proto $said_scheme { default $scheme; https https; }" in said
    assert "proxy_set_header X-Forwarded-Proto $said_scheme;" in said
