"""Carts are deleted some time after their last change. Orders, and a repeat of the request for one, do not need them."""

import pytest

from contexts.orders.models import Cart
from shop.db.database import execute, fetch_rows
from shop.db.retention import list_model_rules
from shop.purging import purge_now
from tests.factories import create_sku

pytestmark = pytest.mark.usefixtures("verified")

AGE_SQL = """
UPDATE orders_cart SET changed_at = changed_at - %s * interval '1 day', created_at = created_at - %s * interval '1 day'
WHERE id = %s"""


def age_and_purge(cart, days):
    execute("orders", AGE_SQL, [days, days, cart])
    purge_now("orders", list_model_rules(Cart))


def count_items(cart):
    [(number,)] = fetch_rows("orders", "SELECT count(*) FROM orders_cartitem WHERE cart_id = %s", [cart])
    return number


def put_item(shopper, cart, units=5):
    return shopper.send("PUT", f"carts/{cart}/items/{create_sku(units)}", {"quantity": 1})


def test_a_cart_is_deleted_with_its_items_ninety_days_after_its_last_change(shopper, cart):
    put_item(shopper, cart)
    age_and_purge(cart, 89)
    assert shopper.get(f"carts/{cart}").status == 200
    age_and_purge(cart, 2)
    assert (shopper.get(f"carts/{cart}").status, count_items(cart)) == (404, 0)


def test_a_change_of_a_cart_keeps_it(shopper, cart):
    put_item(shopper, cart)
    age_and_purge(cart, 89)
    put_item(shopper, cart)
    age_and_purge(cart, 2)
    assert (shopper.get(f"carts/{cart}").status, count_items(cart)) == (200, 2)


def test_a_cart_that_was_never_used_is_deleted_after_a_week(shopper, cart):
    age_and_purge(cart, 6)
    assert shopper.get(f"carts/{cart}").status == 200
    age_and_purge(cart, 2)
    assert shopper.get(f"carts/{cart}").status == 404


def test_the_order_of_a_deleted_cart_is_found_by_its_key(shopper, cart):
    put_item(shopper, cart)
    answer = shopper.order(items=None, cart_id=cart, key="key-of-an-old-cart-" + cart)
    age_and_purge(cart, 91)
    repeated = shopper.order(items=None, cart_id=cart, key="key-of-an-old-cart-" + cart)
    assert (answer.status, repeated.status, repeated.body["id"]) == (201, 201, answer.body["id"])
    assert shopper.order(items=None, cart_id=cart).body["code"] in ("orders.cart_closed", "orders.cart_not_found")
