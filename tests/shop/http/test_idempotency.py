"""Idempotency keys: repeated and concurrent requests with the same key and body have one effect."""

import threading

import pytest
from django.test import Client, RequestFactory

from shop.audit import list_object_history
from shop.db.database import execute, fetch_rows, joinable_transaction
from shop.db.retention import list_model_rules
from shop.http import idempotency
from shop.http.rest import AnonymousCaller
from shop.ids import uuid7
from shop.keyed_hashes import compute_keyed_hash
from shop.models import IdempotencyKey
from shop.purging import purge_now
from tests.concurrency import run_concurrently, run_in_thread
from tests.shop.http.signed_tokens import sign_token

pytestmark = pytest.mark.urls("tests.shop.http.urls")


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


def count_executions(sku):
    return len(list_object_history("orders", "execution", sku))


def test_the_same_key_and_body_gives_the_same_bytes_and_one_effect(sku, key):
    first, *others = [post(sku, key) for _ in range(4)]
    assert first.status_code == 201
    assert {(one.status_code, one.content, one["Content-Type"]) for one in others} == {
        (201, first.content, first["Content-Type"])
    }
    assert count_executions(sku) == 1


def test_without_a_key_each_request_has_its_effect(sku):
    assert post(sku).content != post(sku).content
    assert count_executions(sku) == 2


def test_the_order_of_fields_does_not_matter(sku, key):
    body = f'{{"sku": "{sku}", "quantity": 2}}'
    first = Client().post("/executions", body, "application/json", headers={"Idempotency-Key": key})
    assert first.content == post(sku, key, quantity=2).content


def test_another_body_with_the_same_key_is_refused(sku, key):
    post(sku, key)
    response = post(sku, key, quantity=2)
    assert (response.status_code, response.json()["code"]) == (422, "shop.idempotency_key_reused")
    assert count_executions(sku) == 1


def test_scopes_are_independent(sku, key):
    ada, bob = sign_token(), sign_token()
    responses = [
        post(sku, key),
        post(sku, key, email="ada@example.com"),
        post(sku, key, email="bob@example.com"),
        post(sku, key, auth=ada),
        post(sku, key, auth=bob),
        post(sku, key, path="/other-executions"),
    ]
    assert {one.status_code for one in responses} == {201}
    assert count_executions(sku) == len({one.content for one in responses}) == 6


def test_an_error_stores_no_key_and_no_effect(key):
    sku = f"fails-{uuid7()}"
    assert post(sku, key).status_code == post(sku, key).status_code == 503
    assert count_executions(sku) == 0
    assert fetch_rows("orders", "SELECT 1 FROM shop_idempotencykey WHERE key = %s", [key]) == []


def test_an_invalid_body_stores_no_key(sku, key):
    assert post(sku, key, quantity=0).status_code == 400
    assert post(sku, key).status_code == 201


def assert_in_flight(response):
    assert (response.status_code, response.json()["code"]) == (409, "shop.idempotency_key_in_flight")
    assert response["Retry-After"] == "1"


def test_a_key_in_flight_is_409_with_retry_after(sku, key):
    scope = f"{compute_keyed_hash(b' ')} POST /executions"
    with joinable_transaction("orders"):
        fetch_rows("orders", "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [scope + key])
        assert_in_flight(run_in_thread(lambda: post(sku, key)))
    assert post(sku, key).status_code == 201


def test_fifty_requests_with_one_key_are_one_execution(sku, key):
    responses = run_concurrently(*[lambda: post(sku, key)] * 50)
    done = [one for one in responses if one.status_code == 201]
    assert done
    assert len({one.content for one in done}) == count_executions(sku) == 1
    for one in responses:
        if one.status_code != 201:
            assert_in_flight(one)
    assert post(sku, key).content == done[0].content


def test_control_checking_the_key_first_executes_more_than_once(sku, key):
    stored_key = idempotency.Key(scope="test", key=key, fingerprint="x")
    all_have_checked = threading.Barrier(10)

    def check_then_execute():
        if idempotency.find("orders", stored_key) is None:
            all_have_checked.wait(10)
            post(sku)

    run_concurrently(*[check_then_execute] * 10)
    assert count_executions(sku) > 1


def test_the_unique_constraint_alone_refuses_a_second_row(key):
    stored_key = idempotency.Key(scope="test", key=key, fingerprint="x")
    idempotency.record("orders", stored_key)
    with pytest.raises(idempotency.IdempotencyKeyInFlight):
        idempotency.record("orders", stored_key)


def test_the_first_final_response_stays(key):
    stored_key = idempotency.Key(scope="test", key=key, fingerprint="x")
    resource = uuid7()
    idempotency.record("orders", stored_key, resource)
    idempotency.store_response("orders", stored_key, 201, b"first")
    idempotency.store_response("orders", stored_key, 409, b"second")
    assert idempotency.find("orders", stored_key) == idempotency.StoredOutcome(resource, 201, b"first")


@pytest.mark.parametrize(
    "key", ["", "short", "fifteen-charact", "x" * 256, "with space in it 123", "ü" * 20, "a\x7f" * 10]
)
def test_a_bad_key_of_a_guest_is_a_problem(sku, key):
    response = post(sku, key)
    assert (response.status_code, response.json()["code"]) == (400, "shop.idempotency_key_invalid")
    assert count_executions(sku) == 0


def test_a_customers_key_may_be_short(sku):
    assert post(sku, "1", auth=sign_token()).status_code == 201


def test_a_key_can_be_required(sku, key):
    assert post(sku, key, path="/required").json()["id"] == key
    response = post(sku, path="/required")
    assert (response.status_code, response.json()["code"]) == (400, "shop.idempotency_key_missing")


def test_a_key_can_be_ignored(sku, key):
    post(sku, key, path="/unkeyed")
    post(sku, key, path="/unkeyed")
    assert count_executions(sku) == 2


def test_keys_are_purged_after_72_hours(sku, key):
    post(sku, key)
    for hours, kept in ((71, 1), (73, 0)):
        sql = "UPDATE shop_idempotencykey SET created_at = now() - %s * interval '1 hour' WHERE key = %s"
        execute("orders", sql, [hours, key])
        purge_now("orders", list_model_rules(IdempotencyKey))
        assert fetch_rows("orders", "SELECT count(*) FROM shop_idempotencykey WHERE key = %s", [key]) == [(kept,)]


def test_a_key_with_a_resource_is_never_purged(key):
    stored_key = idempotency.Key(scope="test", key=key, fingerprint="x")
    idempotency.record("orders", stored_key, uuid7())
    execute("orders", "UPDATE shop_idempotencykey SET created_at = now() - interval '9 years' WHERE key = %s", [key])
    purge_now("orders", list_model_rules(IdempotencyKey))
    assert idempotency.find("orders", stored_key)


def test_neither_mail_address_nor_body_is_readable_in_a_key(sku, key):
    post(sku, key, email="ada@example.com", note="secret")
    [stored] = fetch_rows("orders", "SELECT shop_idempotencykey::text FROM shop_idempotencykey WHERE key = %s", [key])
    assert key in stored[0]
    assert (
        "ada@" not in stored[0] and "secret" not in stored[0]
    )  # not hexadecimal, so no digest can contain them by chance


def test_long_paths_that_begin_alike_have_different_scopes():
    scopes = set()
    for last in "ab":
        request = RequestFactory().post(f"/{'x' * 300}{last}", headers={"Idempotency-Key": "k" * 16})
        request.user = AnonymousCaller()
        scopes.add(idempotency.read_key(request, None, required=True).scope)
    assert len(scopes) == 2 and all(len(scope) <= 200 for scope in scopes)
