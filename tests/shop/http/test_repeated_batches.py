"""Repeated requests that wait at the same time are answered in one batch, which begins after all of them have arrived."""

import asyncio
import threading
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from shop.http.repeated_requests import BatchingBuffer, RepeatedRequests
from tests.concurrency import eventually
from tests.shop.http.test_repeated_requests import Application, Text, get


class Exchange:
    """The response to one request, as granian takes it."""

    response = None

    def response_bytes(self, status, headers, body):
        assert self.response is None
        self.response = status, dict(headers), body


class Shop(Application):
    """An application whose contents are refreshed when `gate` is open. `read` has the names of each refresh."""

    def __init__(self, *contents):
        super().__init__(*contents)
        self.read, self.gate = [], threading.Event()
        self.gate.set()

    def refresh(self, names):
        self.read.append(names)
        assert self.gate.wait(5)
        return super().refresh(names)


def build_scope(path, **headers):
    return SimpleNamespace(
        http_version="1.1", server="a:80", client="192.0.2.1:9", scheme="http", method="GET", path=path, query_string="",
        authority=None, headers={"host": "a"} | headers,
    )  # fmt: skip


@pytest.fixture
def shop():
    return Shop()


@pytest.fixture
def buffer(shop):
    """A buffer in front of the shop, which has recorded four requests."""
    repeated = RepeatedRequests(shop)
    for path in ("/a", "/b", "/c", "/d"):
        get(repeated, path)
    shop.asked = 0
    buffer = BatchingBuffer(repeated, threads=2, max_body_bytes=9, body_timeout_seconds=5)
    yield buffer
    buffer.threads.shutdown()


def send(buffer, *paths, then=lambda: None):
    """Send requests, the first one first, and the others while it is being answered. Return the responses or errors."""

    async def run():
        exchanges = [Exchange() for _ in paths]
        first, *others = ((build_scope(path), exchange) for path, exchange in zip(paths, exchanges, strict=True))
        tasks = [asyncio.create_task(buffer.__rsgi__(*first))]
        await asyncio.to_thread(eventually, lambda: buffer.running.requests)
        tasks += [asyncio.create_task(buffer.__rsgi__(*one)) for one in others]
        await asyncio.sleep(0)
        assert len(buffer.waiting.requests) == len(others)
        then()
        async with asyncio.timeout(10):
            errors = await asyncio.gather(*tasks, return_exceptions=True)
        return [error or exchange.response for error, exchange in zip(errors, exchanges, strict=True)]

    return asyncio.run(run())


def list_bodies(responses):
    return [response and response[2] for response in responses]


def answer_unless_first(fail):
    """Return a method that answers all requests of an exchange but the first one, with which `fail` is called."""
    answer, waiting = Exchange.response_bytes, [fail]
    return lambda self, *response: (waiting.pop() if waiting else answer)(self, *response)


def test_requests_that_arrive_while_others_are_answered_are_read_together_afterwards(shop, buffer):
    shop.gate.clear()
    responses = send(buffer, "/a", "/b", "/c", "/b", "/a", then=shop.gate.set)
    assert shop.read == [["/a"], ["/b", "/c", "/a"]]
    assert [(status, body) for status, _, body in responses] == [(200, b"same")] * 5
    assert shop.asked == 0


def test_a_request_gets_no_content_that_was_read_before_it_arrived(shop, buffer):
    shop.contents = [Text(b"older", '"1"'), Text(b"newer", '"2"')]
    shop.gate.clear()
    assert [body for _, _, body in send(buffer, "/a", "/a", then=shop.gate.set)] == [b"older", b"newer"]


def test_requests_whose_content_is_missing_are_answered_by_django(shop, buffer):
    shop.contents = [Text(b"a", '"1"'), None, Text(b"c", '"1"'), None]
    shop.gate.clear()
    responses = send(buffer, "/a", "/b", "/c", "/d", then=shop.gate.set)
    assert list_bodies(responses) == [b"a", b"old", b"c", b"old"]
    assert (shop.asked, shop.read) == (2, [["/a"], ["/b", "/c", "/d"]])


def test_after_an_error_django_answers_the_rest_of_a_batch(shop, buffer):
    shop.contents = [Text(b"a", '"1"'), ZeroDivisionError(), Text(b"d", '"1"')]
    shop.gate.clear()
    with capture_logs() as logs:
        responses = send(buffer, "/a", "/b", "/c", then=shop.gate.set)
    assert list_bodies(responses) == [b"a", b"old", b"old"]
    [error] = [line for line in logs if line["log_level"] == "error"]
    assert (error["event"], error["requests"], error["answered"]) == ("batch_not_answered", 2, 0)
    assert list_bodies(send(buffer, "/d")) == [b"d"]


def test_a_lost_client_costs_no_other_client_a_response(shop, buffer, monkeypatch):
    def lose_connection(self, status, headers, body):
        raise ConnectionResetError

    shop.gate.clear()
    with monkeypatch.context() as changes:
        changes.setattr(Exchange, "response_bytes", answer_unless_first(lose_connection))
        responses = send(buffer, "/a", "/b", "/c", then=shop.gate.set)
    assert list_bodies(responses) == [None, b"same", b"same"]


def test_a_request_that_is_cancelled_leaves_the_others_answered(shop, buffer):
    async def run():
        shop.gate.clear()
        exchanges = [Exchange() for _ in range(3)]
        first, second, third = (
            asyncio.create_task(buffer.__rsgi__(build_scope(path), exchange))
            for path, exchange in zip(("/a", "/b", "/c"), exchanges, strict=True)
        )
        await asyncio.to_thread(eventually, lambda: buffer.running.requests)
        second.cancel()
        shop.gate.set()
        await asyncio.gather(first, third)
        return [exchange.response for exchange in exchanges]

    assert list_bodies(asyncio.run(run()))[::2] == [b"same"] * 2
