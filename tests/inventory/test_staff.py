"""What staff do to stock over HTTP: who may, what it leaves behind."""

from uuid import uuid4

import pytest

from shop.database import rows
from tests.browser import Client
from tests.inventory.books import assert_stock_adds_up, facts, movements, stock_of
from tests.inventory.staff import ACTOR, bearer
from tests.inventory.stock import reserved, stocked

STAFF = ("inventory.change",)


def post(what, body, *permissions):
    headers = bearer(*permissions) if permissions else {}
    return Client().post(f"/api/v1/staff/stock/{what}", body, "application/json", headers=headers)


def receive(sku, quantity):
    return post("receipts", {"sku": sku, "quantity": quantity, "reference": "DN-1"}, *STAFF)


def adjust(sku, quantity):
    return post("adjustments", {"sku": sku, "quantity": quantity, "reason": "recount"}, *STAFF)


def audited(sku):
    sql = "SELECT actor, action, detail->>'quantity', detail->>'note' FROM shop_auditentry WHERE object_id = %s ORDER BY id"
    return rows("inventory", sql, [sku])


@pytest.fixture(autouse=True)
def books_balance():
    yield
    assert_stock_adds_up()


def test_received_units_can_be_bought_and_leave_a_movement_and_an_audit_entry():
    sku = stocked(0)
    answer = receive(sku, 7)
    assert answer.status_code == 201
    assert answer.json() == {"sku": sku, "on_hand": 7, "reserved": 0, "available": 7}
    assert movements(sku) == [("receipt", 7)]
    assert audited(sku) == [(ACTOR, "receipt", "7", "DN-1")]
    assert facts("stock", sku) == [(1, "back_in_stock")]


def test_an_adjustment_takes_units_away_and_says_why():
    sku = stocked(5)
    assert adjust(sku, -5).json() == {"sku": sku, "on_hand": 0, "reserved": 0, "available": 0}
    assert movements(sku) == [("adjustment", -5)]
    assert audited(sku) == [(ACTOR, "adjustment", "-5", "recount")]
    assert facts("stock", sku) == [(1, "sold_out")]


def test_what_is_reserved_cannot_be_adjusted_away():
    sku = stocked(5)
    reserved((sku, 3))
    answer = adjust(sku, -3)
    assert answer.status_code == 409
    assert (answer.json()["code"], answer.json()["facts"]) == (
        "inventory.below_reserved", {"sku": sku, "on_hand": 5, "reserved": 3},
    )  # fmt: skip
    assert (stock_of(sku), movements(sku), audited(sku)) == ((5, 3), [], [])


def test_a_receipt_repeated_with_its_key_counts_once():
    sku = stocked(0)
    headers = {**bearer(*STAFF), "Idempotency-Key": uuid4().hex}
    body = {"sku": sku, "quantity": 7, "reference": "DN-1"}
    answers = [Client().post("/api/v1/staff/stock/receipts", body, "application/json", headers=headers) for _ in range(2)]
    assert answers[0].content == answers[1].content
    assert [answer.status_code for answer in answers] == [201, 201]
    assert stock_of(sku) == (7, 0)


def test_an_unknown_sku_cannot_be_received():
    answer = receive("NO-SUCH-SKU", 1)
    assert (answer.status_code, answer.json()["code"]) == (422, "inventory.unknown_sku")


@pytest.mark.parametrize("permissions", [(), ("inventory.view",), ("orders.change",)])
@pytest.mark.parametrize("what", ["receipts", "adjustments"])
def test_only_staff_with_the_permission_change_stock(what, permissions):
    sku = stocked(1)
    answer = post(what, {"sku": sku, "quantity": 1, "reference": "x", "reason": "x"}, *permissions)
    assert answer.status_code == (403 if permissions else 401)
    assert stock_of(sku) == (1, 0)


@pytest.mark.parametrize("quantity", [0, -1, 1.5, "many", True, None, 10**7, 10**30])
def test_a_receipt_is_of_a_positive_number_of_units(quantity):
    assert receive(stocked(1), quantity).status_code == 400


@pytest.mark.parametrize("quantity", [0, 0.5, "x", 10**7, -(10**7)])
def test_an_adjustment_changes_something_by_whole_units(quantity):
    assert adjust(stocked(1), quantity).status_code == 400


@pytest.mark.parametrize("body", [{}, [], {"sku": "A B", "quantity": 1, "reference": "x"}, {"sku": "A", "quantity": 1}])
def test_an_incomplete_receipt_is_refused(body):
    assert post("receipts", body, *STAFF).status_code == 400
