"""Nonsense sent to carts and orders: a clear answer, and nothing half-done."""

import json
import uuid

import pytest

from shop.database import rows
from tests.inventory.stock import stocked
from tests.orders.books import stock_of
from tests.shopper import ADDRESS, InProcess


@pytest.fixture
def shopper():
    return InProcess()


@pytest.fixture
def wish():
    """A good order, for a test to spoil."""
    return {
        "items": [{"sku": stocked(5), "quantity": 1}],
        "email": f"{uuid.uuid4().hex}@example.com",
        "shipping_address": dict(ADDRESS),
        "payment_method": {"provider": "sandbox", "token": "tok_ok"},
    }


def kept(wish: dict) -> int:
    """How many orders there are of this wish."""
    return rows("orders", "SELECT count(*) FROM orders_order WHERE email = %s", [str(wish["email"])])[0][0]


def refused(shopper: InProcess, wish: dict, status: int, code: str, **headers: str) -> dict:
    """Send it; see the problem, and that nothing of it stays."""
    answer = shopper.post("orders", wish, **({"Idempotency_Key": uuid.uuid4().hex} | headers))
    assert (answer.status, answer.body["code"]) == (status, code), answer.body
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.body["request_id"] == answer.headers["x-request-id"]
    assert kept(wish) == 0
    return answer.body


@pytest.mark.parametrize("quantity", [0, -1, 2**31, 2**63, 10**40, "2", 1.5, True, None, [], {}])
def test_a_quantity_is_a_small_positive_integer(shopper, wish, quantity):
    wish["items"][0]["quantity"] = quantity
    body = refused(shopper, wish, 400, "shop.bad_body")
    assert "quantity" in body["detail"] or "range" in body["detail"]
    assert stock_of(wish["items"][0]["sku"]) == (5, 0)


def test_an_unknown_sku_is_not_for_sale(shopper, wish):
    wish["items"].append({"sku": "NO-SUCH-SKU", "quantity": 1})
    body = refused(shopper, wish, 422, "inventory.unknown_sku")
    assert body["facts"] == {"sku": "NO-SUCH-SKU"}
    assert stock_of(wish["items"][0]["sku"]) == (5, 0)


@pytest.mark.parametrize("sku", ["", "x" * 65, "a b", "'; DROP TABLE", "é", "a\u0000", 7])
def test_a_sku_is_a_short_plain_word(shopper, wish, sku):
    wish["items"][0]["sku"] = sku
    refused(shopper, wish, 400, "shop.bad_body")


def test_an_order_has_up_to_a_thousand_lines(shopper, wish):
    wish["items"] *= 1001
    refused(shopper, wish, 400, "shop.bad_body")
    wish["items"] = []
    refused(shopper, wish, 400, "shop.bad_body")


@pytest.mark.parametrize(
    ("key", "code"),
    [
        ("x" * 256, "shop.idempotency_key_invalid"),
        ("short", "shop.idempotency_key_invalid"),
        ("with blanks with blanks", "shop.idempotency_key_invalid"),
        ("é" * 20, "shop.idempotency_key_invalid"),
        ("", "shop.idempotency_key_invalid"),
    ],
)
def test_a_key_is_long_enough_and_plain(shopper, wish, key, code):
    refused(shopper, wish, 400, code, Idempotency_Key=key)


def test_a_key_is_required(shopper, wish):
    answer = shopper.post("orders", wish)
    assert (answer.status, answer.body["code"]) == (400, "shop.idempotency_key_missing")
    assert kept(wish) == 0


def test_a_guest_says_where_the_receipt_goes(shopper, wish):
    email = wish.pop("email")
    answer = shopper.post("orders", wish, Idempotency_Key=uuid.uuid4().hex)
    assert (answer.status, answer.body["code"]) == (400, "orders.email_missing")
    assert kept({"email": email}) == 0


NO_ADDRESSES = ["no", "a@b", "a b@example.com", "a@example.com\nBcc: b@example.com", "a@@example.com", "a@example.com\n", 1]
NO_ADDRESSES += ["a@exam\u200bple.com", "a\u202e@example.com", "a\x01@example.com", "a@example.c\u2066om", "a@exam\xadple.com"]


@pytest.mark.parametrize("email", NO_ADDRESSES)
def test_an_email_address_looks_like_one(shopper, wish, email):
    wish["email"] = email
    refused(shopper, wish, 400, "shop.bad_body")


@pytest.mark.parametrize("field", ["name", "line1", "city", "postal_code", "country"])
def test_an_address_is_whole(shopper, wish, field):
    del wish["shipping_address"][field]
    body = refused(shopper, wish, 400, "shop.bad_body")
    assert field in body["detail"]


@pytest.mark.parametrize("country", ["Germany", "de", "D", "", "D\u0000", "DE\n"])
def test_a_country_is_two_letters(shopper, wish, country):
    wish["shipping_address"]["country"] = country
    refused(shopper, wish, 400, "shop.bad_body")


def test_a_provider_is_one_of_the_shops(shopper, wish):
    wish["payment_method"]["provider"] = "bank_of_nowhere"
    refused(shopper, wish, 400, "orders.unknown_provider")


def test_prices_status_and_owner_come_from_the_shop_alone(shopper, wish):
    spoiled = wish | {"status": "shipped", "total": 1, "user_id": str(uuid.uuid4()), "number": "MINE"}
    spoiled["items"] = [wish["items"][0] | {"unit_price": {"amount": 1, "currency": "EUR"}}]
    answer = shopper.post("orders", spoiled, Idempotency_Key=uuid.uuid4().hex)
    assert answer.status == 201
    assert answer.body["status"] == "confirmed"
    assert answer.body["totals"]["total"]["amount"] > 1
    assert answer.body["number"] != "MINE"


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"null", b"[]", b'"text"', b"\xff\xfe", b"{'a': 1}", b'{"items": NaN}',
        b"[" * 100_000, b'{"a":' * 50_000,
        b'{"email": "\\ud800"}', b'{"email": "a\\u0000@example.com"}', json.dumps({"items": {}}).encode(),
    ],
)  # fmt: skip
def test_what_is_not_an_order_is_refused(shopper, body):
    answer = shopper.post("orders", body, Idempotency_Key=uuid.uuid4().hex)
    assert (answer.status, answer.body["code"]) == (400, "shop.bad_body")


def test_a_huge_body_is_refused(shopper):
    answer = shopper.post("orders", b'{"email": "' + b"x" * 2_000_000 + b'"}', Idempotency_Key=uuid.uuid4().hex)
    assert (answer.status, answer.body["code"]) == (413, "shop.too_large")


def test_cart_or_items_but_not_both(shopper, wish):
    cart = shopper.post("carts").body["id"]
    refused(shopper, wish | {"cart_id": cart}, 400, "orders.cart_or_items")
    del wish["items"]
    refused(shopper, wish, 400, "orders.cart_or_items")
    refused(shopper, wish | {"cart_id": cart}, 400, "orders.cart_empty")
    refused(shopper, wish | {"cart_id": str(uuid.uuid4())}, 404, "orders.cart_not_found")


def test_somebody_elses_order_is_not_there(shopper, wish):
    order = shopper.post("orders", wish, Idempotency_Key=uuid.uuid4().hex).body
    stranger = InProcess()
    stranger.register()
    owner = InProcess()
    owner.register()
    own = owner.order(wish["items"][0]["sku"]).body
    for who, headers in ((stranger, {}), (shopper, {}), (shopper, {"X_Order_Token": "0" * 64})):
        for target in (order, own):
            for path in (f"orders/{target['id']}", f"orders/{target['id']}/timeline"):
                answer = who.get(path, **headers)
                assert (answer.status, answer.body["code"]) == (404, "orders.order_not_found")
            assert who.post(f"orders/{target['id']}/cancel", **headers).status == 404
    assert [found["id"] for found in owner.get("orders").body["results"]] == [own["id"]]
    assert stranger.get("orders").body["results"] == []


def test_orders_are_listed_for_their_customer_only(shopper):
    assert (shopper.get("orders").status, shopper.get("orders").body["code"]) == (401, "shop.unauthenticated")
    shopper.token = "nonsense"
    answer = shopper.get("orders")
    assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")


@pytest.mark.parametrize("path", ["orders/1", "orders/not-a-uuid", "carts/1", "nowhere", "orders/"])
def test_an_address_that_is_none_is_not_found(shopper, path):
    answer = shopper.get(path)
    assert (answer.status, answer.body["code"]) == (404, "shop.not_found")


def test_a_method_that_is_not_possible_says_so(shopper):
    answer = shopper.send("DELETE", "orders")
    assert (answer.status, answer.body["code"]) == (405, "shop.method_not_allowed")
