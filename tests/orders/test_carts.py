"""Carts: present prices, one order per cart."""

import uuid

import pytest

from shop.db.database import fetch_rows
from tests.concurrency import repeat_concurrently
from tests.factories import create_sku

pytestmark = pytest.mark.usefixtures("verified")


def test_a_cart_shows_current_prices_and_totals(shopper, cart):
    sku = create_sku(5)
    shown = shopper.send("PUT", f"carts/{cart}/items/{sku}", {"quantity": 2}).body
    [item] = shown["items"]
    assert (item["sku"], item["quantity"], item["available"]) == (sku, 2, 5)
    assert item["total"]["amount"] == 2 * item["unit_price"]["amount"] == shown["totals"]["total"]["amount"]
    assert shopper.get(f"carts/{cart}").body == shown


def test_putting_an_item_again_sets_its_quantity(shopper, cart):
    sku = create_sku(5)
    for quantity in (2, 3):
        shown = shopper.send("PUT", f"carts/{cart}/items/{sku}", {"quantity": quantity}).body
    assert [item["quantity"] for item in shown["items"]] == [3]
    assert shopper.send("DELETE", f"carts/{cart}/items/{sku}").body["items"] == []


def test_an_unavailable_product_cannot_be_added_to_a_cart(shopper, cart):
    answer = shopper.send("PUT", f"carts/{cart}/items/NO-SUCH-SKU", {"quantity": 1})
    assert (answer.status, answer.body.get("code")) == (422, "inventory.unknown_sku")
    assert shopper.send("PUT", f"carts/{cart}/items/{create_sku(1)}", {"quantity": 0}).status == 400
    assert shopper.get(f"carts/{cart}").body["items"] == []


def test_a_cart_becomes_one_order(shopper, cart):
    sku = create_sku(5)
    shopper.send("PUT", f"carts/{cart}/items/{sku}", {"quantity": 2})
    answer = shopper.order(items=None, cart_id=cart)
    assert answer.status == 201
    assert [(line["sku"], line["quantity"]) for line in answer.body["lines"]] == [(sku, 2)]
    again = shopper.order(items=None, cart_id=cart)
    assert (again.status, again.body.get("code")) == (409, "orders.cart_closed")
    assert again.body["facts"]["order_id"] == answer.body["id"]


def test_a_cart_ordered_twenty_times_at_once_is_one_order(shopper, cart):
    shopper.send("PUT", f"carts/{cart}/items/{create_sku(50)}", {"quantity": 1})
    answers = repeat_concurrently(20, lambda _: shopper.order(items=None, cart_id=cart))
    assert sorted(answer.status for answer in answers) == [201] + [409] * 19


def test_a_cart_whose_order_was_declined_can_be_ordered_again(shopper, cart):
    shopper.send("PUT", f"carts/{cart}/items/{create_sku(5)}", {"quantity": 1})
    assert shopper.order(items=None, cart_id=cart, token="tok_declined").status == 402
    assert shopper.order(items=None, cart_id=cart).status == 201


def test_an_order_that_could_not_be_placed_keeps_no_key(shopper, cart):
    shopper.send("PUT", f"carts/{cart}/items/{create_sku(5)}", {"quantity": 1})
    assert shopper.order(items=None, cart_id=cart).status == 201
    key = uuid.uuid4().hex
    for _ in range(2):
        answer = shopper.order(items=None, cart_id=cart, key=key)
        assert (answer.status, answer.body.get("code")) == (409, "orders.cart_closed")
    assert fetch_rows("orders", "SELECT 1 FROM shop_idempotencykey WHERE key = %s", [key]) == []


def test_an_unknown_cart_is_not_found(shopper):
    nowhere = uuid.uuid4()
    assert shopper.get(f"carts/{nowhere}").status == 404
    assert shopper.send("PUT", f"carts/{nowhere}/items/{create_sku(1)}", {"quantity": 1}).status == 404
    assert shopper.send("DELETE", f"carts/{nowhere}/items/X").status == 404
