"""The remote transport: signed, in time, repeated where that is safe, and never in doubt about what it does not know."""

import http.client
import socket
import threading
import time
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from django.conf import settings as configured

from shop import remote, services, tracing
from shop.errors import Unavailable
from shop.ids import uuid7
from tests.shop import library as shelf
from tests.shop.library import Library
from tests.shop.wire import HangUp, answering, wait_for_the_end
from tests.threads import crowd, eventually

BODY = b'{"isbns": ["1"]}'


@pytest.fixture(autouse=True)
def counted():
    shelf.calls.clear()


@pytest.fixture
def bound():
    """The tests' interface, bound to an address that it is told."""
    name = services.service("library", Library)

    def to(url):
        services.configure({"library": url}, "local")
        return name

    yield to
    remote._callees.clear()  # a port is soon somebody else's
    services._services.pop("library")
    services._bindings.pop("library")
    services.configure(configured.SERVICES, configured.TRANSPORT)


@pytest.fixture
def server(bound):
    bound("tests.shop.library.LocalLibrary")
    with answering(services.served(("library",))) as server:
        yield server


@pytest.fixture
def nobody():
    """A server that takes requests and hangs up."""
    server = HangUp()
    yield server
    server.close()


def post(server, path="/library/books", body=BODY, headers=None, method="POST", **changed):
    """The status of one request, signed as our own are unless told otherwise."""
    headers = headers or remote._headers("library.books", BODY, 2.0)
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=5)
    connection.request(method, path, body, headers | {name.replace("_", "-"): value for name, value in changed.items()})
    with connection.getresponse() as response:
        return response.status


def test_many_calls_go_over_one_connection(server, bound):
    library = bound(server.url)
    for _ in range(20):
        library.books(isbns=("1",))
    assert (server.connections, len(shelf.calls)) == (1, 20)


def test_a_connection_that_the_callee_has_closed_is_not_used_even_for_a_call_that_is_made_once(server, bound):
    library = bound(server.url)
    library.shout(word="one")
    callee = remote._callees[server.url]
    ours, _ = callee.idle[0]
    ours.sock.shutdown(1)  # the server hears the end, and closes its own side
    eventually(lambda: remote._closed(ours))
    library.shout(word="two")
    assert shelf.calls == ["one", "two"]


def test_what_is_signed_is_answered(server):
    assert post(server) == 200


def headers_of(**changes):
    """The headers of a right call, with other words in the signed line."""
    headers = remote._headers("library.books", BODY, 2.0)
    names = ("scheme", "caller", "at", "nonce", "left", "signature")
    words = dict(zip(names, headers["Authorization"].split(" "), strict=True)) | changes
    return headers | {"Authorization": " ".join(words.values())}


FORGED = {
    "no signature": lambda: {"Satsuma-Trace": "{}"},
    "nonsense": lambda: headers_of() | {"Authorization": "Bearer x"},
    "another scheme": lambda: headers_of(scheme="Basic"),
    "another caller": lambda: headers_of(caller="payments"),
    "an unknown caller": lambda: headers_of(caller="nobody"),
    "a later time": lambda: headers_of(at=str(int(time.time()) + 5)),
    "another nonce": lambda: headers_of(nonce="0" * 24),
    "more time": lambda: headers_of(left="5000"),
    "another signature": lambda: headers_of(signature="0" * 64),
    "another trace": lambda: headers_of() | {"Satsuma-Trace": '{"correlation_id": "x", "causation_id": "x"}'},
    "no numbers": lambda: headers_of(at="soon"),
    "letters of nobody's": lambda: headers_of(signature="ä" * 64),
}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
def test_what_is_not_signed_so_is_refused(server, forged):
    assert post(server, headers=forged()) == 401
    assert shelf.calls == []


def test_another_body_or_another_method_is_refused(server):
    assert post(server, body=b'{"isbns": ["2"]}') == 401
    assert post(server, path="/library/shout", body=BODY) == 401
    assert shelf.calls == []


def test_what_was_said_once_cannot_be_said_again(server):
    headers = headers_of()
    assert [post(server, headers=headers) for _ in range(2)] == [200, 409]
    assert shelf.calls == ["books"]


@pytest.mark.parametrize("skew", [-40, 40])
def test_what_was_signed_at_another_time_is_refused(server, monkeypatch, skew):
    now = time.time()
    monkeypatch.setattr(remote.time, "time", lambda: now + skew)
    headers = headers_of()
    monkeypatch.setattr(remote.time, "time", lambda: now)
    assert post(server, headers=headers) == 401


def test_nonces_are_forgotten_when_their_window_is_over(monkeypatch):
    seen, now = remote._Seen(), time.time()
    assert [seen.add("a"), seen.add("a"), seen.add("b")] == [True, False, True]
    monkeypatch.setattr(remote.time, "time", lambda: now + 3 * remote.WINDOW)
    assert seen.add("c")
    assert list(seen.nonces) == ["c"]


def test_keys_are_rotated_without_a_pause(server, bound, settings):
    library, caller = bound(server.url), settings.CONTEXTS[0]
    for keys in (["old" * 20], ["old" * 20, "new" * 20], ["new" * 20, "old" * 20], ["new" * 20]):
        settings.CALL_KEYS = settings.CALL_KEYS | {caller: keys}
        library.books(isbns=("1",))
    headers = headers_of()
    settings.CALL_KEYS = settings.CALL_KEYS | {caller: ["newer" * 20]}
    assert post(server, headers=headers) == 401


@pytest.mark.parametrize(
    ("path", "method", "status"), [("/library/burn", "POST", 404), ("/library/books", "GET", 404), ("/", "POST", 404)]
)
def test_there_is_nothing_else_at_the_internal_address(server, path, method, status):
    assert post(server, path=path, method=method) == status


def test_too_much_is_not_even_read(server):
    assert post(server, body=b"", Content_Length=str(remote.LARGEST + 1)) == 413


def test_what_the_type_hints_do_not_say_is_refused(server):
    body = b'{"isbns": [5]}'
    assert post(server, body=body, headers=remote._headers("library.books", body, 2.0)) == 400
    assert shelf.calls == []


def test_a_callee_that_is_not_there_is_unavailable(bound):
    gone = HangUp()
    gone.close()
    with pytest.raises(Unavailable):
        bound(gone.url).books(isbns=())
    assert gone.requests == []


SAID = {
    "refused": (f"503 No\r\n{remote.OUTCOME}: {remote.REFUSED}", remote.TRIES),
    "by somebody in between": ("502 Bad Gateway", 1),
    "once more": ("409 Conflict", 1),
}


@pytest.mark.parametrize(("said", "requests"), SAID.values(), ids=SAID)
def test_only_who_says_that_nothing_was_done_is_asked_again_by_a_call_that_is_made_once(bound, said, requests):
    server = HangUp(then=lambda connection: connection.sendall(f"HTTP/1.1 {said}\r\nContent-Length: 0\r\n\r\n".encode()))
    with pytest.raises(Unavailable):
        bound(server.url).shout(word="Fire!")
    server.close()
    assert len(server.requests) == requests


def test_a_caller_without_time_says_nothing_about_the_callee(bound):
    silent = HangUp(then=wait_for_the_end)
    for _ in range(remote.FAILURES):
        with remote.within(0.05), pytest.raises(Unavailable):
            bound(silent.url).books(isbns=())
    assert remote._callees[silent.url].failures == 0
    silent.close()


def test_an_address_that_swallows_everything_costs_no_more_time_than_there_is(bound):
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        place = full.getsockname()
        waiting = [socket.socket() for _ in range(3)]
        for one in waiting:  # its queue is full, so that nobody else's connection is answered
            one.setblocking(False)
            one.connect_ex(place)
        began = time.monotonic()
        with remote.within(0.3), pytest.raises(Unavailable):
            bound(f"http://127.0.0.1:{place[1]}").books(isbns=())
        assert time.monotonic() - began < 1
        for one in waiting:
            one.close()


@pytest.mark.parametrize(
    ("call", "requests"),
    [
        (lambda library: library.books(isbns=()), remote.TRIES),
        (lambda library: library.lend(loan_id=uuid7(), isbn="1", lent_for=timedelta(0)), remote.TRIES),
        (lambda library: library.shout(word="Fire!"), 1),
    ],
    ids=["read", "idempotent", "once"],
)
def test_what_may_have_happened_is_asked_again_only_where_that_changes_nothing(bound, nobody, call, requests):
    with pytest.raises(Unavailable):
        call(bound(nobody.url))
    assert len(nobody.requests) == requests


def test_an_answer_that_does_not_come_is_waited_for_no_longer_than_there_is_time(bound):
    silent = HangUp(then=wait_for_the_end)
    began = time.monotonic()
    with remote.within(0.3), pytest.raises(Unavailable):
        bound(silent.url).books(isbns=())
    assert time.monotonic() - began < 1
    silent.close()


def test_without_time_nobody_is_asked(bound, nobody):
    with remote.within(0), pytest.raises(Unavailable):
        bound(nobody.url).books(isbns=())
    assert nobody.requests == []


def test_the_deadline_goes_down_the_chain(server):
    seen = []
    server.set_app(remote.application({"library.books": lambda body: seen.append(remote.left()) or b"{}"}))
    post(server, headers=remote._headers("library.books", BODY, 0.7))
    assert 0 < seen[0] <= 0.7


def test_who_asked_too_long_ago_is_not_answered(server):
    assert post(server, headers=remote._headers("library.books", BODY, 0)) == 504
    assert shelf.calls == []


def test_of_two_limits_the_nearer_one_holds():
    with remote.within(1):
        with remote.within(60):
            assert remote.left() <= 1
        with remote.within(0.1):
            assert remote.left() <= 0.1
    assert remote.left() == remote.PATIENCE


def test_the_story_goes_on_at_the_callee(server, bound):
    told = []
    server.set_app(remote.application({"library.books": lambda body: told.append(tracing.current()) or b'{"value": []}'}))
    with tracing.following(tracing.Trace(correlation_id="story", causation_id="cause", traceparent="00-1-2-01", hops=3)):
        bound(server.url).books(isbns=())
    assert told == [tracing.Trace(correlation_id="story", causation_id="cause", traceparent="00-1-2-01", hops=3)]


def test_a_bug_of_the_callee_is_no_outage(server, bound):
    def stumble(body):
        raise ZeroDivisionError

    server.set_app(remote.application({"library.books": stumble}))
    with pytest.raises(remote.CalleeFailed):
        bound(server.url).books(isbns=())


def test_who_does_not_answer_is_left_alone_for_a_while_and_then_asked_by_one(bound, nobody, monkeypatch):
    library = bound(nobody.url)
    monkeypatch.setattr(remote, "REST", 3600.0)
    for _ in range(4):
        with pytest.raises(Unavailable):
            library.books(isbns=())
    assert len(nobody.requests) == remote.FAILURES
    remote._callees[nobody.url].rests_until = 0.0
    assert [type(answer) for answer in crowd(5, lambda n: library.books(isbns=()))] == [Unavailable] * 5
    assert len(nobody.requests) == remote.FAILURES + 1


def test_who_answers_again_is_asked_as_before(server, bound):
    library = bound(server.url)
    library.books(isbns=())
    callee = remote._callees[server.url]
    callee.failures, callee.rests_until = remote.FAILURES, 0.0
    library.books(isbns=())
    assert callee.failures == 0


def test_a_slow_context_takes_no_more_lines_than_it_has(bound):
    going = threading.Event()
    slow = HangUp(then=lambda connection: going.wait(10))
    library = bound(slow.url)

    def ask(n):
        if n < remote.LINES:
            return library.books(isbns=())
        eventually(lambda: len(slow.requests) == remote.LINES)
        with remote.within(0.2), pytest.raises(Unavailable):
            library.books(isbns=())
        asked = len(slow.requests)
        going.set()
        return asked

    assert crowd(remote.LINES + 1, ask)[-1] == remote.LINES
    slow.close()
