"""Responses that a view has marked are repeated before Django, and no others."""

from typing import NamedTuple

import pytest
from django.db import OperationalError
from django.http import HttpResponse

from shop.http import repeated_requests
from shop.http.repeated_requests import RepeatedRequests, mark_repeatable

HEADERS = {"X-Request-ID": "first", "ETag": '"1"', "Content-Length": "3"}


class Text(NamedTuple):
    content: bytes
    etag: str


class Application:
    """A WSGI application whose responses are marked. `contents` are what its content is refreshed to."""

    def __init__(self, *contents, **headers):
        self.contents = list(contents)
        self.headers = HEADERS | headers
        self.asked = 0

    def __call__(self, environ, start_response):
        self.asked += 1
        start_response("200 OK", list(self.headers.items()))
        response = HttpResponse(b"old")
        mark_repeatable(response, "orders", self.refresh, environ["PATH_INFO"])
        return response

    def refresh(self, names):
        return [self.refresh_one() for _ in names]

    def refresh_one(self):
        content = self.contents.pop(0) if self.contents else Text(b"same", '"1"')
        if isinstance(content, Exception):
            raise content
        return content


def get(front, target="/a", **environ):
    path, _, query = target.partition("?")
    head = []
    given = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "wsgi.url_scheme": "http",
        "HTTP_HOST": "a",
    }
    body = b"".join(front(given | environ, lambda *arguments: head.append(arguments)))
    return head[-1][0], dict(head[-1][1]), body


def test_the_content_is_refreshed_and_the_head_repeated():
    application = Application(Text(b"newer", '"2"'), Server="x")
    front = RepeatedRequests(application)
    get(front)
    status, headers, body = get(front, HTTP_X_REQUEST_ID="mine")
    assert (status, body, application.asked) == ("200 OK", b"newer", 1)
    assert headers == {"X-Request-ID": "mine", "ETag": '"2"', "Content-Length": "5", "Server": "x"}
    assert list(headers) == [*HEADERS, "Server"]


@pytest.mark.parametrize("content", [None, OperationalError("away")])
def test_content_that_cannot_be_refreshed_is_left_to_django(content):
    application = Application(content)
    front = RepeatedRequests(application)
    get(front)
    assert get(front)[2] == b"old"
    assert application.asked == 2


def test_an_error_that_is_no_outage_is_not_hidden():
    front = RepeatedRequests(Application(ZeroDivisionError()))
    get(front)
    with pytest.raises(ZeroDivisionError):
        get(front)


@pytest.mark.parametrize("headers", [{"Set-Cookie": "a=b"}])
def test_a_response_with_a_cookie_is_not_repeated(headers):
    application = Application(**headers)
    front = RepeatedRequests(application)
    for _ in range(3):
        get(front)
    assert application.asked == 3


@pytest.mark.parametrize("name", HEADERS)
def test_a_response_without_the_headers_of_a_resource_is_not_repeated(name):
    application = Application()
    del application.headers[name]
    front = RepeatedRequests(application)
    get(front), get(front)
    assert application.asked == 2


def test_the_memory_for_requests_is_limited(monkeypatch):
    monkeypatch.setattr(repeated_requests, "MAX_RECORDED_REQUESTS", 10)
    application = Application()
    front = RepeatedRequests(application)
    for number in range(35):
        get(front, f"/a?{number}")
        assert len(front.recorded) <= 10
    long = "/a?" + "x" * repeated_requests.MAX_KEY_CHARACTERS
    before = dict(front.recorded)
    get(front, long)
    assert front.recorded == before
