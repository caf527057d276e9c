"""Request middleware: each request has an id, which is returned, and one log line."""

import io
import json
import logging
from uuid import UUID

import pytest
from django.conf import settings
from django.test import Client

pytestmark = pytest.mark.urls("tests.shop.http.urls")


def request_id(**headers):
    return Client().get("/health", headers=headers)["X-Request-ID"]


@pytest.mark.parametrize("plain", ["a", "req-1.2_3", "x" * 64, "0af7651916cd43dd8448eb211c80319c"])
def test_a_plain_request_id_is_echoed(plain):
    assert request_id(**{"X-Request-ID": plain}) == plain


@pytest.mark.parametrize("hostile", ["", "x" * 65, "a b", "a;b", "<script>", "a\nb", "ü", "%00", '"', "{x}"])
def test_a_hostile_request_id_is_replaced(hostile):
    given = request_id(**{"X-Request-ID": hostile})
    assert UUID(given).version == 7


def test_each_request_without_an_id_gets_its_own():
    assert request_id() != request_id()


@pytest.fixture
def lines():
    """A function that returns the log lines of requests, as the configured formatter writes them."""
    out, root = io.StringIO(), logging.getLogger()
    handler = logging.StreamHandler(out)
    handler.setFormatter(root.handlers[0].formatter)
    logger, level = logging.getLogger("shop.requests"), logging.getLogger("shop.requests").level
    logger.addHandler(handler)
    logger.setLevel("INFO")
    yield lambda: [json.loads(line) for line in out.getvalue().splitlines()]
    logger.removeHandler(handler)
    logger.setLevel(level)


def test_each_request_leaves_one_json_line_with_its_ids(lines):
    Client().post("/executions?token=swordfish", {"password": "hunter2"}, headers={"X-Request-ID": "request-1"})
    [line] = lines()
    assert (line["method"], line["path"], line["status"]) == ("POST", "/executions", 400)
    assert (line["request_id"], line["correlation_id"], line["level"]) == ("request-1", "request-1", "info")
    assert line["ms"] >= 0
    assert "hunter2" not in json.dumps(line)
    assert "swordfish" not in json.dumps(line)


def test_a_hostile_path_stays_on_its_line(lines):
    Client().get("/a%0A%7B%22forged%22:1%7D")
    [line] = lines()
    assert line["path"] == '/a\n{"forged":1}'


def test_the_log_is_json_by_default():
    assert settings.LOGGING["handlers"]["out"]["stream"] == "ext://sys.stdout"
