"""The client of the remote transport: connections, attempts, deadlines and the circuit breaker."""

import socket
import threading
import time
from datetime import timedelta

import pytest

from shop.calls.deadline import deadline
from shop.calls.remote import client
from shop.calls.remote.server import create_application
from shop.calls.remote.wire import OUTCOME_HEADER, OUTCOME_REFUSED
from shop.errors import Unavailable
from shop.ids import uuid7
from tests.concurrency import eventually, repeat_concurrently
from tests.shop.calls import library as shelf
from tests.shop.calls.servers import UnresponsiveServer, record_call, wait_for_disconnect


def test_many_calls_use_one_connection(server, bind_library):
    library = bind_library(server.url)
    for _ in range(20):
        library.books(isbns=("1",))
    assert (server.connections, len(shelf.calls)) == (1, 20)


def test_a_connection_closed_by_the_callee_is_not_reused(server, bind_library):
    library = bind_library(server.url)
    library.shout(word="one")
    callee = client._callees[server.url]
    ours, _ = callee.idle[0]
    ours.sock.shutdown(1)  # the server reads the end of the stream and closes its side
    eventually(lambda: client._is_closed(ours))
    library.shout(word="two")
    assert shelf.calls == ["one", "two"]


def test_an_unreachable_callee_is_unavailable(bind_library):
    closed = UnresponsiveServer()
    closed.close()
    with pytest.raises(Unavailable):
        bind_library(closed.url).books(isbns=())
    assert closed.requests == []


STATUS_LINES = {
    "refused": (f"503 No\r\n{OUTCOME_HEADER}: {OUTCOME_REFUSED}", client.MAX_ATTEMPTS),
    "by a proxy": ("502 Bad Gateway", 1),
    "replayed": ("409 Conflict", 1),
}


@pytest.mark.parametrize(("status_line", "requests"), STATUS_LINES.values(), ids=STATUS_LINES)
def test_a_once_call_is_retried_only_after_an_explicit_refusal(bind_library, status_line, requests):
    response = f"HTTP/1.1 {status_line}\r\nContent-Length: 0\r\n\r\n".encode()
    server = UnresponsiveServer(on_request=lambda connection: connection.sendall(response))
    with pytest.raises(Unavailable):
        bind_library(server.url).shout(word="Fire!")
    server.close()
    assert len(server.requests) == requests


def test_a_short_deadline_does_not_count_as_a_callee_failure(bind_library):
    silent = UnresponsiveServer(on_request=wait_for_disconnect)
    for _ in range(client.CIRCUIT_FAILURE_THRESHOLD):
        with deadline(0.05), pytest.raises(Unavailable):
            bind_library(silent.url).books(isbns=())
    assert client._callees[silent.url].failures == 0
    silent.close()


def test_an_address_that_drops_packets_is_limited_by_the_deadline(bind_library):
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        address = full.getsockname()
        waiting = [socket.socket() for _ in range(3)]
        for one in waiting:  # they fill the queue of the server, so that it accepts no other connection
            one.setblocking(False)
            one.connect_ex(address)
        began = time.monotonic()
        with deadline(0.3), pytest.raises(Unavailable):
            bind_library(f"http://127.0.0.1:{address[1]}").books(isbns=())
        assert time.monotonic() - began < 1
        for one in waiting:
            one.close()


@pytest.mark.parametrize(
    ("call", "requests"),
    [
        (lambda library: library.books(isbns=()), client.MAX_ATTEMPTS),
        (lambda library: library.lend(loan_id=uuid7(), isbn="1", lent_for=timedelta(0)), client.MAX_ATTEMPTS),
        (lambda library: library.shout(word="Fire!"), 1),
    ],
    ids=["read", "idempotent", "once"],
)
def test_an_uncertain_call_is_retried_only_if_it_is_idempotent(bind_library, unresponsive_server, call, requests):
    with pytest.raises(Unavailable):
        call(bind_library(unresponsive_server.url))
    assert len(unresponsive_server.requests) == requests


def test_a_missing_response_is_limited_by_the_deadline(bind_library):
    silent = UnresponsiveServer(on_request=wait_for_disconnect)
    began = time.monotonic()
    with deadline(0.3), pytest.raises(Unavailable):
        bind_library(silent.url).books(isbns=())
    assert time.monotonic() - began < 1
    silent.close()


def test_an_expired_deadline_makes_no_request(bind_library, unresponsive_server):
    with deadline(0), pytest.raises(Unavailable):
        bind_library(unresponsive_server.url).books(isbns=())
    assert unresponsive_server.requests == []


def test_a_bug_of_the_callee_is_not_an_outage(server, bind_library):
    def fail(body):
        raise ZeroDivisionError

    server.set_app(create_application({"library.books": fail}, record_call))
    with pytest.raises(client.CalleeFailed):
        bind_library(server.url).books(isbns=())


def test_an_open_circuit_lets_one_call_probe_after_its_cooldown(bind_library, unresponsive_server, monkeypatch):
    library = bind_library(unresponsive_server.url)
    monkeypatch.setattr(client, "CIRCUIT_COOLDOWN_SECONDS", 3600.0)
    for _ in range(4):
        with pytest.raises(Unavailable):
            library.books(isbns=())
    assert len(unresponsive_server.requests) == client.CIRCUIT_FAILURE_THRESHOLD
    client._callees[unresponsive_server.url].circuit_open_until = 0.0
    outcomes = repeat_concurrently(5, lambda n: library.books(isbns=()))
    assert [type(outcome) for outcome in outcomes] == [Unavailable] * 5
    assert len(unresponsive_server.requests) == client.CIRCUIT_FAILURE_THRESHOLD + 1


def test_a_successful_response_closes_the_circuit(server, bind_library):
    library = bind_library(server.url)
    library.books(isbns=())
    callee = client._callees[server.url]
    callee.failures, callee.circuit_open_until = client.CIRCUIT_FAILURE_THRESHOLD, 0.0
    library.books(isbns=())
    assert callee.failures == 0


def test_calls_to_a_slow_context_are_limited_in_number(bind_library):
    released = threading.Event()
    slow = UnresponsiveServer(on_request=lambda connection: released.wait(10))
    library = bind_library(slow.url)

    def call(n):
        if n < client.MAX_CONCURRENT_CALLS:
            return library.books(isbns=())
        eventually(lambda: len(slow.requests) == client.MAX_CONCURRENT_CALLS)
        with deadline(0.2), pytest.raises(Unavailable):
            library.books(isbns=())
        count = len(slow.requests)
        released.set()
        return count

    assert repeat_concurrently(client.MAX_CONCURRENT_CALLS + 1, call)[-1] == client.MAX_CONCURRENT_CALLS
    slow.close()
