"""Signatures of internal calls: for one caller, path, trace and body, valid once and for a short time."""

import time

import pytest

from shop.calls.remote import nonces, signature
from shop.db.database import execute, fetch_rows
from shop.db.retention import list_model_rules
from shop.errors import Unavailable
from shop.models import ReceivedCall
from shop.purging import purge_now
from tests.concurrency import repeat_concurrently
from tests.shop.calls import library as shelf
from tests.shop.calls.remote.signed_requests import post, sign_request


def test_a_signed_call_is_answered(server):
    assert post(server) == 200


INVALID_SIGNATURES = {
    "no signature": lambda: {"Satsuma-Trace": "{}"},
    "nonsense": lambda: sign_request() | {"Authorization": "Bearer x"},
    "another scheme": lambda: sign_request(scheme="Basic"),
    "another caller": lambda: sign_request(caller="payments"),
    "an unknown caller": lambda: sign_request(caller="unknown"),
    "a later time": lambda: sign_request(at=str(int(time.time()) + 5)),
    "another nonce": lambda: sign_request(nonce="0" * 24),
    "a later deadline": lambda: sign_request(milliseconds="5000"),
    "another signature": lambda: sign_request(signature="0" * 64),
    "another trace": lambda: sign_request() | {"Satsuma-Trace": '{"correlation_id": "x", "causation_id": "x"}'},
    "a time that is not a number": lambda: sign_request(at="soon"),
    "a signature that is not ASCII": lambda: sign_request(signature="ä" * 64),
}


@pytest.mark.parametrize("forged", INVALID_SIGNATURES.values(), ids=INVALID_SIGNATURES)
def test_an_invalid_signature_is_refused(server, forged):
    assert post(server, headers=forged()) == 401
    assert shelf.calls == []


def test_a_signature_for_another_body_or_method_is_refused(server):
    assert post(server, body=b'{"isbns": ["2"]}') == 401
    assert post(server, path="/library/shout") == 401
    assert shelf.calls == []


def test_a_replayed_request_is_refused(server):
    headers = sign_request()
    assert [post(server, headers=headers) for _ in range(2)] == [200, 409]
    assert shelf.calls == ["books"]


def test_a_request_that_another_process_has_received_is_refused(server):
    headers = sign_request()
    nonce = headers["Authorization"].split(" ")[3]
    execute("orders", "INSERT INTO shop_receivedcall VALUES (%s, now() + interval '1 minute')", [nonce])
    assert post(server, headers=headers) == 409
    assert shelf.calls == []


def test_of_replays_at_the_same_moment_one_is_answered(server):
    headers = sign_request()
    assert sorted(repeat_concurrently(5, lambda _: post(server, headers=headers))) == [200, 409, 409, 409, 409]
    assert shelf.calls == ["books"]


@pytest.fixture
def full_disk():
    """No nonce can be recorded."""
    execute("orders", """CREATE FUNCTION test_full_disk() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'the disk is full' USING ERRCODE = '53100'; END $$""")  # fmt: skip
    execute("orders", "CREATE TRIGGER full_disk BEFORE INSERT ON shop_receivedcall EXECUTE FUNCTION test_full_disk()")
    yield
    execute("orders", "DROP FUNCTION test_full_disk CASCADE")


@pytest.mark.usefixtures("full_disk")
def test_a_call_whose_nonce_cannot_be_recorded_is_not_carried_out(server, bind_library):
    with pytest.raises(Unavailable):
        bind_library(server.url).books(isbns=("1",))
    assert shelf.calls == []


@pytest.mark.parametrize("skew", [-40, 40])
def test_a_signature_outside_the_time_window_is_refused(server, monkeypatch, skew):
    now = time.time()
    monkeypatch.setattr(signature.time, "time", lambda: now + skew)
    headers = sign_request()
    monkeypatch.setattr(signature.time, "time", lambda: now)
    assert post(server, headers=headers) == 401


def test_nonces_are_deleted_after_their_signatures_have_expired():
    for nonce in ("a", "b"):
        assert nonces.record_nonce("orders", nonce)
        assert not nonces.record_nonce("orders", nonce)
    execute("orders", "UPDATE shop_receivedcall SET expires_at = now() WHERE nonce = 'a'")
    purge_now("orders", list_model_rules(ReceivedCall))
    left = "SELECT nonce, expires_at > now() + interval '55 seconds' FROM shop_receivedcall WHERE nonce IN ('a', 'b')"
    assert fetch_rows("orders", left) == [("b", True)]
    execute("orders", "DELETE FROM shop_receivedcall WHERE nonce = 'b'")


def test_keys_are_rotated_without_downtime(server, bind_library, settings):
    library, caller = bind_library(server.url), settings.CONTEXTS[0]
    for keys in (["old" * 20], ["old" * 20, "new" * 20], ["new" * 20, "old" * 20], ["new" * 20]):
        settings.CALL_KEYS = settings.CALL_KEYS | {caller: keys}
        library.books(isbns=("1",))
    headers = sign_request()
    settings.CALL_KEYS = settings.CALL_KEYS | {caller: ["newer" * 20]}
    assert post(server, headers=headers) == 401
