"""Carts."""

import uuid

import pytest

from shop.database import rows
from tests.inventory.stock import stocked
from tests.shopper import InProcess
from tests.threads import crowd

pytestmark = pytest.mark.usefixtures("verified")


@pytest.fixture
def shopper():
    return InProcess()


@pytest.fixture
def cart(shopper):
    return shopper.post("carts").body["id"]


def test_a_cart_shows_present_prices_and_totals(shopper, cart):
    sku = stocked(5)
    shown = shopper.send("PUT", f"carts/{cart}/items/{sku}", {"quantity": 2}).body
    [item] = shown["items"]
    assert (item["sku"], item["quantity"], item["available"]) == (sku, 2, 5)
    assert item["total"]["amount"] == 2 * item["unit_price"]["amount"] == shown["totals"]["total"]["amount"]
    assert shopper.get(f"carts/{cart}").body == shown


def test_putting_an_item_again_sets_its_quantity(shopper, cart):
    sku = stocked(5)
    for quantity in (2, 3):
        shown = shopper.send("PUT", f"carts/{cart}/items/{sku}", {"quantity": quantity}).body
    assert [item["quantity"] for item in shown["items"]] == [3]
    assert shopper.send("DELETE", f"carts/{cart}/items/{sku}").body["items"] == []


def test_what_is_not_for_sale_does_not_go_into_a_cart(shopper, cart):
    answer = shopper.send("PUT", f"carts/{cart}/items/NO-SUCH-SKU", {"quantity": 1})
    assert (answer.status, answer.body["code"]) == (422, "inventory.unknown_sku")
    assert shopper.send("PUT", f"carts/{cart}/items/{stocked(1)}", {"quantity": 0}).status == 400
    assert shopper.get(f"carts/{cart}").body["items"] == []


def test_a_cart_becomes_one_order(shopper, cart):
    sku = stocked(5)
    shopper.send("PUT", f"carts/{cart}/items/{sku}", {"quantity": 2})
    answer = shopper.order(items=None, cart_id=cart)
    assert answer.status == 201
    assert [(line["sku"], line["quantity"]) for line in answer.body["lines"]] == [(sku, 2)]
    again = shopper.order(items=None, cart_id=cart)
    assert (again.status, again.body["code"]) == (409, "orders.cart_changed")


def test_a_cart_ordered_twenty_times_at_once_is_one_order(shopper, cart):
    shopper.send("PUT", f"carts/{cart}/items/{stocked(50)}", {"quantity": 1})
    answers = crowd(20, lambda _: shopper.order(items=None, cart_id=cart))
    assert sorted(answer.status for answer in answers) == [201] + [409] * 19


def test_a_cart_whose_order_was_declined_can_be_ordered_again(shopper, cart):
    shopper.send("PUT", f"carts/{cart}/items/{stocked(5)}", {"quantity": 1})
    assert shopper.order(items=None, cart_id=cart, token="tok_declined").status == 402
    assert shopper.order(items=None, cart_id=cart).status == 201


def test_an_order_that_could_not_be_placed_keeps_no_key(shopper, cart):
    shopper.send("PUT", f"carts/{cart}/items/{stocked(5)}", {"quantity": 1})
    assert shopper.order(items=None, cart_id=cart).status == 201
    key = uuid.uuid4().hex
    for _ in range(2):
        answer = shopper.order(items=None, cart_id=cart, key=key)
        assert (answer.status, answer.body["code"]) == (409, "orders.cart_changed")
    assert rows("orders", "SELECT 1 FROM shop_idempotencykey WHERE key = %s", [key]) == []


def test_a_cart_that_is_not_there_is_not_found(shopper):
    nowhere = uuid.uuid4()
    assert shopper.get(f"carts/{nowhere}").status == 404
    assert shopper.send("PUT", f"carts/{nowhere}/items/{stocked(1)}", {"quantity": 1}).status == 404
    assert shopper.send("DELETE", f"carts/{nowhere}/items/X").status == 404
