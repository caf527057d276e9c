"""The staff API of stock: permissions, movements, audit entries, events."""

from functools import partial
from uuid import uuid4

import pytest

from shop.db.database import fetch_rows
from tests.factories import create_sku, reserve_units
from tests.http_client import Client
from tests.idempotency_keys import age_and_purge_keys
from tests.inventory.queries import assert_stock_adds_up, movements, published_events, stock_of
from tests.inventory.staff_clients import ACTOR, authorization_header

STAFF = ("inventory.change",)


def post(resource, body, *permissions, key=""):
    headers = {"Idempotency-Key": key or uuid4().hex} | (authorization_header(*permissions) if permissions else {})
    return Client().post(f"/api/v1/staff/stock/{resource}", body, "application/json", headers=headers)


def receive(sku, quantity):
    return post("receipts", {"sku": sku, "quantity": quantity, "reference": "DN-1"}, *STAFF)


def adjust(sku, quantity):
    return post("adjustments", {"sku": sku, "quantity": quantity, "reason": "recount"}, *STAFF)


def audit_entries(sku):
    sql = "SELECT actor, action, detail->>'quantity', detail->>'note' FROM shop_auditentry WHERE object_id = %s ORDER BY id"
    return fetch_rows("inventory", sql, [sku])


@pytest.fixture(autouse=True)
def assert_consistent_stock():
    yield
    assert_stock_adds_up()


def test_a_receipt_adds_units_and_writes_a_movement_an_audit_entry_and_an_event():
    sku = create_sku(0)
    response = receive(sku, 7)
    assert response.status_code == 201
    assert response.json() == {"sku": sku, "on_hand": 7, "reserved": 0, "available": 7}
    assert movements(sku) == [("receipt", 7)]
    assert audit_entries(sku) == [(ACTOR, "receipt", "7", "DN-1")]
    assert published_events("stock", sku) == [(1, "back_in_stock")]


def test_an_adjustment_removes_units_and_records_the_reason():
    sku = create_sku(5)
    assert adjust(sku, -5).json() == {"sku": sku, "on_hand": 0, "reserved": 0, "available": 0}
    assert movements(sku) == [("adjustment", -5)]
    assert audit_entries(sku) == [(ACTOR, "adjustment", "-5", "recount")]
    assert published_events("stock", sku) == [(1, "sold_out")]


def test_reserved_units_cannot_be_removed_by_an_adjustment():
    sku = create_sku(5)
    reserve_units((sku, 3))
    response = adjust(sku, -3)
    assert response.status_code == 409
    assert response.json()["code"] == "inventory.below_reserved"
    assert response.json()["facts"] == {"sku": sku, "on_hand": 5, "reserved": 3}
    assert (stock_of(sku), movements(sku), audit_entries(sku)) == ((5, 3), [], [])


def test_a_receipt_repeated_with_its_key_counts_once():
    sku = create_sku(0)
    headers = {**authorization_header(*STAFF), "Idempotency-Key": uuid4().hex}
    body = {"sku": sku, "quantity": 7, "reference": "DN-1"}
    responses = [
        Client().post("/api/v1/staff/stock/receipts", body, "application/json", headers=headers) for _ in range(2)
    ]
    assert responses[0].content == responses[1].content
    assert [response.status_code for response in responses] == [201, 201]
    assert stock_of(sku) == (7, 0)


@pytest.mark.parametrize("resource", ["receipts", "adjustments"])
def test_a_stock_movement_needs_a_key(resource):
    sku = create_sku(1)
    body = {"sku": sku, "quantity": 1, "reference" if resource == "receipts" else "reason": "x"}
    headers = authorization_header(*STAFF)
    response = Client().post(f"/api/v1/staff/stock/{resource}", body, "application/json", headers=headers)
    assert (response.status_code, response.json()["code"]) == (400, "shop.idempotency_key_missing")
    assert stock_of(sku) == (1, 0)


@pytest.mark.parametrize("resource", ["receipts", "adjustments"])
def test_a_stock_movement_is_booked_once_per_key_also_after_a_month(resource):
    sku, key, token = create_sku(0), uuid4().hex, authorization_header(*STAFF)
    body = {"sku": sku, "quantity": 7, "reference" if resource == "receipts" else "reason": "DN-1"}
    send = partial(
        Client().post,
        f"/api/v1/staff/stock/{resource}",
        body,
        "application/json",
        headers=token | {"Idempotency-Key": key},
    )
    first = send()
    age_and_purge_keys("inventory", key)
    again = send()
    assert (again.status_code, again.content) == (first.status_code, first.content) == (201, first.content)
    assert stock_of(sku) == (7, 0)
    assert len(movements(sku)) == 1


def test_an_unknown_sku_cannot_be_received():
    response = receive("NO-SUCH-SKU", 1)
    assert (response.status_code, response.json()["code"]) == (422, "inventory.unknown_sku")


@pytest.mark.parametrize("permissions", [(), ("inventory.view",), ("orders.change",)])
@pytest.mark.parametrize("resource", ["receipts", "adjustments"])
def test_only_staff_with_the_permission_can_change_stock(resource, permissions):
    sku = create_sku(1)
    response = post(resource, {"sku": sku, "quantity": 1, "reference": "x", "reason": "x"}, *permissions)
    assert response.status_code == (403 if permissions else 401)
    assert stock_of(sku) == (1, 0)


@pytest.mark.parametrize("quantity", [0, -1, 1.5, "many", True, None, 10**7, 10**30])
def test_a_receipt_needs_a_positive_number_of_units(quantity):
    assert receive(create_sku(1), quantity).status_code == 400


@pytest.mark.parametrize("quantity", [0, 0.5, "x", 10**7, -(10**7)])
def test_an_adjustment_needs_a_nonzero_whole_number_of_units(quantity):
    assert adjust(create_sku(1), quantity).status_code == 400


@pytest.mark.parametrize("body", [{}, [], {"sku": "A B", "quantity": 1, "reference": "x"}, {"sku": "A", "quantity": 1}])
def test_an_incomplete_receipt_is_refused(body):
    assert post("receipts", body, *STAFF).status_code == 400
