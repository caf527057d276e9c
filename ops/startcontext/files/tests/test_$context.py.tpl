"""$Context: REST, interface, events and admin."""

from uuid import uuid4

import pytest

from contexts.$context.interface import $context
from shop.db.database import fetch_rows
from tests.concurrency import repeat_concurrently
from tests.engine_driver import run_until_idle
from tests.shopper import InProcessShopper
from tests.staff_accounts import sign_in_to_admin
from tests.$context.factories import build_body, create_customer, create_$noun


@pytest.fixture
def customer():
    return create_customer()


def count_events(${noun}_id):
    stream = f"$context.$noun:{${noun}_id}"
    return len(fetch_rows("$context", "SELECT 1 FROM shop_outboxevent WHERE stream = %s", [stream]))


def test_a_created_${noun}_is_returned_alone_and_in_the_list(customer):
    body = build_body()
    created = customer.post("$context", body)
    assert created.status == 201, created.body
    assert {name: created.body[name] for name in body} == body
    assert customer.get(f"$context/{created.body['id']}").body == created.body
    assert customer.get("$context").body["results"] == [created.body]


def test_the_list_has_pages_with_the_newest_first(customer):
    ids = [customer.post("$context", build_body()).body["id"] for _ in range(3)]
    first = customer.get("$context?page_size=2").body
    second = customer.get(first["next"].partition("/api/v1/")[2]).body
    assert [one["id"] for page in (first, second) for one in page["results"]] == ids[::-1]


def test_a_repeat_with_the_same_key_returns_the_first_response(customer):
    body = build_body()
    first, second = (customer.post("$context", body, Idempotency_Key="create-it") for _ in range(2))
    assert (second.status, second.content) == (first.status, first.content)
    assert count_events(first.body["id"]) == 1


def test_a_key_cannot_be_used_for_another_request(customer):
    customer.post("$context", build_body(), Idempotency_Key="create-it")
    refused = customer.post("$context", build_body(), Idempotency_Key="create-it")
    assert (refused.status, refused.body["code"]) == (422, "shop.idempotency_key_reused")


def test_a_reference_is_used_once_and_published_once(customer):
    body = build_body()
    first, second = (customer.post("$context", {**body, "text": text}).body for text in ("First.", "Second."))
    assert (second["id"], second["text"]) == (first["id"], "First.")
    assert count_events(first["id"]) == 1


def test_concurrent_requests_create_one_$noun():
    user_id, body = uuid4(), build_body()
    created = repeat_concurrently(8, lambda _: create_$noun(user_id, **body))
    assert len({one.id for one in created}) == 1
    assert count_events(created[0].id) == 1


def test_a_new_${noun}_is_processed_by_its_handler(customer):
    ${noun}_id = customer.post("$context", build_body()).body["id"]
    assert customer.get(f"$context/{${noun}_id}").body["processed_at"] is None
    run_until_idle()
    assert customer.get(f"$context/{${noun}_id}").body["processed_at"]


def test_customers_do_not_see_the_${context}_of_others(customer):
    ${noun}_id = create_customer().post("$context", build_body()).body["id"]
    refused = customer.get(f"$context/{${noun}_id}")
    assert (refused.status, refused.body["code"]) == (404, "$context.${noun}_not_found")
    assert customer.get("$context").body["results"] == []


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_guests_have_to_sign_in(method):
    assert InProcessShopper().send(method, "$context", build_body()).status == 401


@pytest.mark.parametrize("change", [{"reference": ""}, {"text": ""}, {"surprise": "x"}])
def test_an_invalid_body_is_refused(customer, change):
    assert customer.post("$context", build_body(**change)).status == 400


def test_the_interface_returns_known_ids_only():
    created = create_$noun()
    assert $context.get_$context(ids=(created.id, uuid4())) == (created,)


def test_the_interface_returns_the_first_${noun}_on_a_repeat():
    created = create_$noun()
    assert create_$noun(created.user_id, reference=created.reference, text="Another.") == created


def test_staff_with_a_permission_find_the_${noun}_in_the_admin():
    created = create_$noun()
    address = f"/admin/$context/$noun/?q={created.id}"
    assert created.reference in sign_in_to_admin("$context.view").get(address).content.decode()
    assert sign_in_to_admin("users.view").get(address).status_code == 403
