"""The key of an order lives as long as the order: a repeat after any time is the same order and no second charge."""

import uuid

import pytest

from shop.db.database import fetch_rows
from tests.engine_driver import run_until_idle
from tests.factories import create_sku
from tests.idempotency_keys import age_and_purge_keys
from tests.orders.queries import count_charges, stock_of
from tests.shopper import InProcessShopper

pytestmark = pytest.mark.usefixtures("verified")


def orders_of(email: str) -> list[tuple]:
    return fetch_rows("orders", "SELECT id::text FROM orders_order WHERE email = %s", [email])


@pytest.mark.parametrize(("token", "status"), [("tok_ok", 201), ("tok_declined", 402), ("tok_requires_action", 202)])
def test_an_order_repeated_after_a_month_is_the_same_order(token, status):
    shopper, sku = InProcessShopper(), create_sku(5)
    key, email = uuid.uuid4().hex, f"{uuid.uuid4().hex}@example.com"
    first = shopper.order(sku, token=token, key=key, email=email)
    stock = stock_of(sku)
    age_and_purge_keys("orders", key)
    again = shopper.order(sku, token=token, key=key, email=email)
    assert (again.status, again.content) == (first.status, first.content) == (status, first.content)
    run_until_idle()
    [(order_id,)] = orders_of(email)
    assert count_charges(order_id) == {201: 1, 402: 0, 202: 0}[status]
    assert stock_of(sku) == ((4, 0) if status == 201 else stock)


def test_another_body_is_still_refused_after_a_month():
    shopper, sku, key = InProcessShopper(), create_sku(5), uuid.uuid4().hex
    shopper.order(sku, key=key)
    age_and_purge_keys("orders", key)
    answer = shopper.order(sku, key=key, items=[{"sku": sku, "quantity": 2}])
    assert (answer.status, answer.body.get("code")) == (422, "shop.idempotency_key_reused")


def test_a_key_without_a_resource_is_purged_after_three_days():
    shopper, key = InProcessShopper(), uuid.uuid4().hex
    cart = shopper.post("carts", Idempotency_Key=key).body["id"]
    assert shopper.post("carts", Idempotency_Key=key).body["id"] == cart
    age_and_purge_keys("orders", key)
    assert shopper.post("carts", Idempotency_Key=key).body["id"] != cart
