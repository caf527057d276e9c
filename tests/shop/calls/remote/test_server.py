"""The server of the remote transport: what it refuses, and what it passes on to the implementation."""

import pytest

from shop import clients
from shop.calls import tracing
from shop.calls.deadline import remaining_seconds
from shop.calls.remote.server import MAX_REQUEST_BYTES, create_application
from shop.clients import Client
from tests.security_log import recorded_events
from tests.shop.calls import library as shelf
from tests.shop.calls.remote.signed_requests import post, sign_request
from tests.shop.calls.servers import record_call


@pytest.mark.parametrize(
    ("path", "method", "status"), [("/library/burn", "POST", 404), ("/library/books", "GET", 404), ("/", "POST", 404)]
)
def test_unknown_paths_and_methods_are_404(server, path, method, status):
    assert post(server, path=path, method=method) == status


def test_an_oversized_body_is_refused_unread(server):
    assert post(server, body=b"", Content_Length=str(MAX_REQUEST_BYTES + 1)) == 413


def test_arguments_that_violate_the_type_hints_are_refused(server):
    body = b'{"isbns": [5]}'
    assert post(server, body=body, headers=sign_request(body)) == 400
    assert shelf.calls == []


def test_the_deadline_is_passed_to_the_callee(server):
    seen = []
    methods = {"library.books": lambda body: seen.append(remaining_seconds()) or b"{}"}
    server.set_app(create_application(methods, record_call))
    post(server, headers=sign_request(seconds=0.7))
    assert 0 < seen[0] <= 0.7


def test_a_request_past_its_deadline_is_504(server):
    assert post(server, headers=sign_request(seconds=0)) == 504
    assert shelf.calls == []


def test_the_trace_continues_at_the_callee(server, bind_library):
    seen, trace = [], tracing.Trace(correlation_id="a", causation_id="b", traceparent="00-1-2-01", hops=3)

    def serve(body):
        seen.append(tracing.get_current_trace())
        return b'{"value": []}'

    server.set_app(create_application({"library.books": serve}, record_call))
    with tracing.use_trace(trace):
        bind_library(server.url).books(isbns=())
    assert seen == [trace]


def test_the_client_of_a_request_is_known_to_the_callee(server, bind_library):
    seen, client = [], Client(address="192.0.2.7", user_agent='Orchard "1.0"')

    def serve(body):
        seen.append(clients.current.get())
        return b'{"value": []}'

    server.set_app(create_application({"library.books": serve}, record_call))
    with tracing.use_trace(tracing.Trace(correlation_id="a", causation_id="b", client=client)):
        clients.set_account(7)
        bind_library(server.url).books(isbns=())
    assert seen == [Client(address="192.0.2.7", user_agent='Orchard "1.0"', account="7")]


def test_a_call_that_cannot_be_trusted_is_a_security_event(server):
    with recorded_events() as events:
        headers = sign_request()
        assert post(server, headers={**headers, "Authorization": headers["Authorization"][:-1] + "x"}) == 401
        assert (post(server, headers=headers), post(server, headers=headers)) == (200, 409)
        found = [(entry["reason"], entry["level"], entry["path"]) for entry in events("authn_call_fail")]
    assert found == [("wrong_signature", "critical", "/library/books"), ("replayed", "critical", "/library/books")]
