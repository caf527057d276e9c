"""Errors of the admin: a page for people, and a line in the log with the same request id."""

import io
import json
import logging

import pytest
from django.conf import settings
from django.core.handlers.exception import convert_exception_to_response
from django.test import Client, RequestFactory

pytestmark = pytest.mark.urls("tests.shop.http.urls")


@pytest.fixture
def lines():
    """Return the log lines of errors, as the configured formatter and filters write them."""
    out, root = io.StringIO(), logging.getLogger()
    handler = logging.StreamHandler(out)
    handler.setFormatter(root.handlers[0].formatter)
    handler.setLevel("ERROR")
    root.addHandler(handler)
    yield lambda: [json.loads(line) for line in out.getvalue().splitlines()]
    root.removeHandler(handler)


def test_an_error_of_the_admin_is_logged_once_with_the_request_id_of_its_page(lines):
    response = Client().get("/admin/bug/", headers={"X-Request-ID": "request-7"})
    page = response.content.decode()
    assert (response.status_code, response["X-Request-ID"]) == (500, "request-7")
    assert response["Content-Type"].startswith("text/html")
    assert "request-7" in page and "SELECT secret" not in page
    [line] = lines()
    assert (line["request_id"], line["event"]) == ("request-7", "request_failed")
    assert "RuntimeError: SELECT secret FROM inside" in line["exception"]


def test_an_error_outside_of_a_view_is_logged_by_django(lines):
    def fail(_):
        raise RuntimeError("in a middleware")

    request = RequestFactory().get("/admin/")
    response = convert_exception_to_response(fail)(request)
    assert response.status_code == 500 and "Request id" in response.content.decode()
    assert ["in a middleware" in line["exception"] for line in lines()] == [True]
    assert settings.LOGGING["loggers"]["django.request"]["level"] == "ERROR"


class FailingMiddleware:
    """A middleware with a bug, outside of every view."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        raise RuntimeError("in a middleware")


def test_an_error_of_a_middleware_is_logged_once_with_the_request_id_of_its_page(lines, settings):
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.FailingMiddleware"]
    response = Client(raise_request_exception=False).get("/admin/", headers={"X-Request-ID": "request-8"})
    assert (response.status_code, response["X-Request-ID"]) == (500, "request-8")
    assert "request-8" in response.content.decode()
    [line] = lines()
    assert line["request_id"] == "request-8" and "in a middleware" in line["exception"]


@pytest.mark.parametrize(("path", "status"), [("/admin/missing/", 404), ("/admin/nowhere/", 404)])
def test_a_refusal_in_the_admin_is_a_page_and_no_error_in_the_log(lines, path, status):
    response = Client().get(path)
    assert response.status_code == status
    assert "does not exist" in response.content.decode()
    assert lines() == []


def test_an_error_of_the_api_stays_a_problem(lines):
    response = Client().get("/bare-bug")
    assert response["Content-Type"] == "application/problem+json"
    assert len(lines()) == 1
