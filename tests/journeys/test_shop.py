"""A customer and a running shop, over HTTP."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from shop.db.database import fetch_rows
from tests.concurrency import eventually
from tests.factories import create_sku
from tests.http_shopper import Shopper
from tests.orders.queries import assert_stock_adds_up, count_charges, payment_of, stock_of

pytestmark = pytest.mark.usefixtures("verified")


def is_captured(shopper: Shopper, order: dict[str, Any]) -> bool:
    """Return whether the payment was captured, which follows the answer."""
    return shopper.get_order(order)["payment"]["status"] == "captured"


def test_a_customer_buys_and_is_notified(shopper):
    email = shopper.register()
    sku = create_sku(3)
    cart = shopper.post("carts").body["id"]
    shopper.send("PUT", f"carts/{cart}/items/{sku}", {"quantity": 2})
    answer = shopper.order(items=None, cart_id=cart, email=None)
    assert answer.status == 201
    order = answer.body
    assert (order["email"], order["status"], order["payment"]["status"]) == (email, "confirmed", "authorized")
    assert order["lines"][0]["quantity"] == 2
    eventually(lambda: stock_of(sku) == (1, 0))
    messages = eventually(
        lambda: [m for m in shopper.get("notifications").body["results"] if order["number"] in m["text"]]
    )
    assert messages[0]["order_id"] == order["id"]
    assert [found["id"] for found in shopper.get("orders").body["results"]] == [order["id"]]
    eventually(lambda: is_captured(shopper, order))
    payment = shopper.get(f"payments/{order['payment']['id']}").body
    assert (payment["status"], payment["order_id"]) == ("captured", order["id"])
    stranger = shopper.new_client()
    stranger.register()
    assert stranger.get(f"payments/{payment['id']}").status == 404
    timeline = [entry["kind"] for entry in shopper.get(f"orders/{order['id']}/timeline").body["results"]]
    assert timeline == ["placed", "confirmed", "paid"]


def test_a_guest_buys_with_a_card_that_needs_approval(shopper):
    order = shopper.order(create_sku(1), token="tok_requires_action").body
    assert order["status"] == "pending"
    action = order["payment"]["action"]
    assert action["type"] == "redirect"
    assert shopper.post("/" + action["url"].split("/", 3)[3]).status < 300
    assert eventually(lambda: shopper.get_order(order)["status"] == "confirmed")


def test_a_timed_out_payment_is_found_and_captured_once(shopper):
    answer = shopper.order(create_sku(1), token="tok_timeout_then_ok")
    assert answer.status == 202
    assert eventually(lambda: shopper.get_order(answer.body)["status"] == "confirmed")
    assert eventually(lambda: is_captured(shopper, answer.body))
    assert count_charges(answer.body["id"]) == 1


def test_a_cancelled_order_releases_stock_and_refunds_money(shopper):
    sku = create_sku(1)
    order = shopper.order(sku).body
    eventually(lambda: stock_of(sku) == (0, 0) and is_captured(shopper, order))
    assert shopper.post(f"orders/{order['id']}/cancel", X_Order_Token=order["token"]).status in (200, 202)
    eventually(lambda: stock_of(sku) == (1, 0))
    assert payment_of(order["id"]) == "refunded"


def test_the_catalogue_is_browsed_page_by_page(shopper):
    for _ in range(3):
        create_sku(1)
    seen, path = [], "products?page_size=2"
    while path:
        page = shopper.get(path).body
        seen += [found["id"] for found in page["results"]]
        path = page["next"] and "products?" + page["next"].split("?")[1]
    assert len(seen) == len(set(seen)) >= 3


def test_every_order_of_many_reaches_inventory(shopper):
    email = f"{uuid.uuid4().hex}@example.com"
    sku = create_sku(60)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: shopper.order(sku, email=email), range(50)))
    assert {answer.status for answer in answers} == {201}
    ids = [answer.body["id"] for answer in answers]
    streams = [f"orders.order:{order_id}" for order_id in ids]
    handled = "SELECT count(*) FROM shop_inboxrow WHERE stream = ANY(%s) AND handled_at IS NOT NULL"
    eventually(lambda: fetch_rows("inventory", handled, [streams]) == [(50,)])
    eventually(lambda: stock_of(sku) == (10, 0))


def test_two_shops_on_the_same_databases_share_the_work(shop, launch_shop):
    other = launch_shop()
    sku = create_sku(20)
    shoppers = [shop.shopper(), other.shopper()]
    answers = [shoppers[n % 2].order(sku) for n in range(10)]
    assert {answer.status for answer in answers} == {201}
    eventually(lambda: stock_of(sku) == (10, 0))
    assert_stock_adds_up(sku)
    assert other.stop() == 0
