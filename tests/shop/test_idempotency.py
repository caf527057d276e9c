"""Idempotency-Key: the same key and body is the same request, however often and however fast it comes."""

import threading

import pytest
from django.test import Client

from shop import idempotency
from shop.audit import trail
from shop.database import changed, kernel_transaction, rows
from shop.ids import uuid7
from tests.shop.keys import token
from tests.threads import at_once, elsewhere

pytestmark = pytest.mark.urls("tests.shop.urls")


@pytest.fixture
def sku():
    return f"sku-{uuid7()}"


@pytest.fixture
def key():
    return f"key-{uuid7()}"


def post(sku, key=None, path="/executions", auth=None, **body):
    headers = {"Idempotency-Key": key} if key is not None else {}
    if auth:
        headers["Authorization"] = f"Bearer {auth}"
    return Client().post(path, {"sku": sku} | body, content_type="application/json", headers=headers)


def executions(sku):
    return len(trail("orders", "execution", sku))


def test_the_same_key_and_body_gives_the_same_bytes_and_one_effect(sku, key):
    first, *others = [post(sku, key) for _ in range(4)]
    assert first.status_code == 201
    assert {(one.status_code, one.content, one["Content-Type"]) for one in others} == {
        (201, first.content, first["Content-Type"])
    }
    assert executions(sku) == 1


def test_without_a_key_each_request_has_its_effect(sku):
    assert post(sku).content != post(sku).content
    assert executions(sku) == 2


def test_the_order_of_fields_does_not_matter(sku, key):
    first = Client().post("/executions", f'{{"sku": "{sku}", "quantity": 2}}', "application/json",
                          headers={"Idempotency-Key": key})  # fmt: skip
    assert first.content == post(sku, key, quantity=2).content


def test_another_body_with_the_same_key_is_refused(sku, key):
    post(sku, key)
    response = post(sku, key, quantity=2)
    assert (response.status_code, response.json()["code"]) == (422, "shop.idempotency_key_reused")
    assert executions(sku) == 1


def test_scopes_are_independent(sku, key):
    ada, bob = token(), token()
    answers = [
        post(sku, key),
        post(sku, key, email="ada@example.com"),
        post(sku, key, email="bob@example.com"),
        post(sku, key, auth=ada),
        post(sku, key, auth=bob),
        post(sku, key, path="/other-executions"),
    ]
    assert {one.status_code for one in answers} == {201}
    assert executions(sku) == len({one.content for one in answers}) == 6


def test_an_error_keeps_no_key_and_no_effect(key):
    sku = f"fails-{uuid7()}"
    assert post(sku, key).status_code == post(sku, key).status_code == 503
    assert executions(sku) == 0
    assert rows("orders", "SELECT 1 FROM shop_idempotencykey WHERE key = %s", [key]) == []


def test_a_bad_body_keeps_no_key(sku, key):
    assert post(sku, key, quantity=0).status_code == 400
    assert post(sku, key).status_code == 201


def in_flight(key, response):
    assert (response.status_code, response.json()["code"]) == (409, "shop.idempotency_key_in_flight")
    assert response["Retry-After"] == "1"


def test_a_key_in_flight_is_409_with_retry_after(sku, key):
    scope = f"{idempotency.keyed_hash(b' ')} POST /executions"
    with kernel_transaction("orders"):
        rows("orders", "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [scope + key])
        in_flight(key, elsewhere(lambda: post(sku, key)))
    assert post(sku, key).status_code == 201


def test_fifty_requests_with_one_key_are_one_execution(sku, key):
    answers = at_once(*[lambda: post(sku, key)] * 50)
    done = [one for one in answers if one.status_code == 201]
    assert done
    assert len({one.content for one in done}) == executions(sku) == 1
    for one in answers:
        if one.status_code != 201:
            in_flight(key, one)
    assert post(sku, key).content == done[0].content


def test_looking_for_the_key_first_would_execute_more_than_once(sku, key):
    wanted = idempotency.Key(scope="test", key=key, fingerprint="x")

    all_have_looked = threading.Barrier(10)

    def look_then_execute():
        if idempotency.find("orders", wanted) is None:
            all_have_looked.wait(10)
            post(sku)

    at_once(*[look_then_execute] * 10)
    assert executions(sku) > 1


def test_the_unique_constraint_alone_refuses_a_second_row(key):
    wanted = idempotency.Key(scope="test", key=key, fingerprint="x")
    idempotency.record("orders", wanted)
    with pytest.raises(idempotency.IdempotencyKeyInFlight):
        idempotency.record("orders", wanted)


def test_the_first_final_answer_stays(key):
    wanted = idempotency.Key(scope="test", key=key, fingerprint="x")
    resource = uuid7()
    idempotency.record("orders", wanted, resource)
    idempotency.finish("orders", wanted, 201, b"first")
    idempotency.finish("orders", wanted, 409, b"second")
    assert idempotency.find("orders", wanted) == idempotency.Known(resource, 201, b"first")


@pytest.mark.parametrize("key", ["", "short", "fifteen-charact", "x" * 256, "with space in it 123", "ü" * 20, "a\x7f" * 10])
def test_a_bad_key_of_a_guest_is_a_problem(sku, key):
    response = post(sku, key)
    assert (response.status_code, response.json()["code"]) == (400, "shop.idempotency_key_invalid")
    assert executions(sku) == 0


def test_a_customers_key_may_be_short(sku):
    assert post(sku, "1", auth=token()).status_code == 201


def test_a_key_may_be_required(sku, key):
    assert post(sku, key, path="/required").json()["id"] == key
    response = post(sku, path="/required")
    assert (response.status_code, response.json()["code"]) == (400, "shop.idempotency_key_missing")


def test_a_key_may_be_without_meaning(sku, key):
    post(sku, key, path="/unkeyed")
    post(sku, key, path="/unkeyed")
    assert executions(sku) == 2


def test_keys_are_forgotten_after_72_hours(sku, key):
    post(sku, key)
    for hours, kept in ((71, 1), (73, 0)):
        sql = "UPDATE shop_idempotencykey SET created_at = now() - %s * interval '1 hour' WHERE key = %s"
        changed("orders", sql, [hours, key])
        idempotency.purge("orders")
        assert rows("orders", "SELECT count(*) FROM shop_idempotencykey WHERE key = %s", [key]) == [(kept,)]


def test_neither_mail_address_nor_body_is_readable_in_a_key(sku, key):
    post(sku, key, email="ada@example.com", note="secret")
    [stored] = rows("orders", "SELECT shop_idempotencykey::text FROM shop_idempotencykey WHERE key = %s", [key])
    assert key in stored[0]
    assert "ada@" not in stored[0] and "secret" not in stored[0]  # neither is hexadecimal: no digest can hold them
