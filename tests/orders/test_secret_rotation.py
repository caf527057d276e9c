"""Orders of guests after a change of SECRET_KEY, with the former key in SECRET_KEY_FALLBACKS."""

import uuid

import pytest

from shop.db.database import fetch_rows
from tests.engine_driver import run_until_idle
from tests.factories import create_sku
from tests.orders.queries import count_charges, stock_of
from tests.orders.test_pay_again import intents_of
from tests.secret_rotation import rotate_secret
from tests.shopper import InProcessShopper

pytestmark = pytest.mark.usefixtures("verified")


def orders_of(email: str) -> list[str]:
    rows = fetch_rows("orders", "SELECT id::text FROM orders_order WHERE email = %s", [email])
    return [order_id for (order_id,) in rows]


@pytest.mark.parametrize("rotations", [1, 2])
@pytest.mark.parametrize(("token", "status"), [("tok_ok", 201), ("tok_declined", 402), ("tok_requires_action", 202)])
def test_a_request_repeated_after_the_rotation_is_the_same_order(settings, token, status, rotations):
    shopper, sku = InProcessShopper(), create_sku(5)
    key, email = uuid.uuid4().hex, f"{uuid.uuid4().hex}@example.com"
    first = shopper.order(sku, token=token, key=key, email=email)
    stock = stock_of(sku)
    for _ in range(rotations):
        rotate_secret(settings)
    again = shopper.order(sku, token=token, key=key, email=email)
    assert (again.status, first.status) == (status, status)
    orders = orders_of(email)
    assert len(orders) == 1
    run_until_idle()
    order_id = orders[0]
    assert count_charges(order_id) == {201: 1, 402: 0, 202: 0}[status]
    assert stock_of(sku) == ((4, 0) if status == 201 else stock)


def test_another_body_is_still_refused_after_the_rotation(settings):
    shopper, sku, key = InProcessShopper(), create_sku(5), uuid.uuid4().hex
    shopper.order(sku, key=key)
    rotate_secret(settings)
    answer = shopper.order(sku, key=key, items=[{"sku": sku, "quantity": 2}])
    assert (answer.status, answer.body.get("code")) == (422, "shop.idempotency_key_reused")


def test_a_customer_repeats_a_request_after_the_rotation(settings):
    shopper, sku, key = InProcessShopper(), create_sku(5), uuid.uuid4().hex
    shopper.register()
    first = shopper.order(sku, key=key)
    rotate_secret(settings)
    assert shopper.order(sku, key=key).content == first.content


def test_the_token_of_a_guest_shows_the_order_until_its_key_is_removed(settings):
    shopper, sku = InProcessShopper(), create_sku(5)
    order = shopper.order(sku).body
    rotate_secret(settings)
    shown = shopper.get(f"orders/{order['id']}", X_Order_Token=order["token"])
    assert (shown.status, shown.body["id"]) == (200, order["id"])
    assert shown.body["token"] != order["token"], "new links use the new key"
    assert shopper.get(f"orders/{order['id']}", X_Order_Token=shown.body["token"]).status == 200
    settings.SECRET_KEY_FALLBACKS = []
    assert shopper.get(f"orders/{order['id']}", X_Order_Token=order["token"]).status == 404
    assert shopper.get(f"orders/{order['id']}", X_Order_Token=shown.body["token"]).status == 200


def test_a_guest_who_repeats_a_payment_after_the_rotation_is_charged_once(settings):
    shopper, key = InProcessShopper(), uuid.uuid4().hex
    order = shopper.buy(create_sku(1), token="tok_capture_refused")
    headers = {"Idempotency_Key": key, "X_Order_Token": order["token"]}
    body = {"payment_method": {"provider": "sandbox", "token": "tok_ok"}}
    answers = [shopper.post(f"orders/{order['id']}/payment", body, **headers)]
    rotate_secret(settings)
    answers.append(shopper.post(f"orders/{order['id']}/payment", body, **headers))
    assert [(answer.status, answer.body.get("payment_status")) for answer in answers] == [(200, "paid")] * 2
    keys = fetch_rows("orders", "SELECT count(DISTINCT resource) FROM shop_idempotencykey WHERE key = %s", [key])
    assert keys == [(1,)], "one attempt"
    assert len(intents_of(order)) == 2
