"""Invalid requests for carts and orders are refused with a problem and store nothing."""

import json
import uuid

import pytest

from shop.db.database import fetch_rows
from tests.factories import create_sku
from tests.orders.queries import stock_of
from tests.shopper import ADDRESS, InProcessShopper


@pytest.fixture
def order_request():
    """Return a valid order request, for a test to make invalid."""
    return {
        "items": [{"sku": create_sku(5), "quantity": 1}],
        "email": f"{uuid.uuid4().hex}@example.com",
        "shipping_address": dict(ADDRESS),
        "payment_method": {"provider": "sandbox", "token": "tok_ok"},
    }


def count_orders(order_request: dict) -> int:
    """Count the orders with the e-mail address of this request."""
    email = str(order_request["email"])
    [(count,)] = fetch_rows("orders", "SELECT count(*) FROM orders_order WHERE email = %s", [email])
    return count


def assert_refused(shopper: InProcessShopper, order_request: dict, status: int, code: str, **headers: str) -> dict:
    """Send an order request, and assert that it is refused with this problem and stores no order."""
    answer = shopper.post("orders", order_request, **({"Idempotency_Key": uuid.uuid4().hex} | headers))
    assert (answer.status, answer.body.get("code")) == (status, code), answer.body
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.body["request_id"] == answer.headers["x-request-id"]
    assert count_orders(order_request) == 0
    return answer.body


@pytest.mark.parametrize("quantity", [0, -1, 2**31, 2**63, 10**40, "2", 1.5, True, None, [], {}])
def test_a_quantity_is_a_small_positive_integer(shopper, order_request, quantity):
    order_request["items"][0]["quantity"] = quantity
    body = assert_refused(shopper, order_request, 400, "shop.bad_body")
    assert "quantity" in body["detail"] or "range" in body["detail"]
    assert stock_of(order_request["items"][0]["sku"]) == (5, 0)


def test_an_unknown_sku_is_not_for_sale(shopper, order_request):
    order_request["items"].append({"sku": "NO-SUCH-SKU", "quantity": 1})
    body = assert_refused(shopper, order_request, 422, "inventory.unknown_sku")
    assert body["facts"] == {"sku": "NO-SUCH-SKU", "skus": ["NO-SUCH-SKU"]}
    assert stock_of(order_request["items"][0]["sku"]) == (5, 0)


@pytest.mark.parametrize("sku", ["", "x" * 65, "a b", "'; DROP TABLE", "é", "a\u0000", 7])
def test_an_invalid_sku_is_refused(shopper, order_request, sku):
    order_request["items"][0]["sku"] = sku
    assert_refused(shopper, order_request, 400, "shop.bad_body")


def test_an_order_has_up_to_a_thousand_lines(shopper, order_request):
    order_request["items"] *= 1001
    assert_refused(shopper, order_request, 400, "shop.bad_body")
    order_request["items"] = []
    assert_refused(shopper, order_request, 400, "shop.bad_body")


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
def test_an_invalid_key_is_refused(shopper, order_request, key, code):
    assert_refused(shopper, order_request, 400, code, Idempotency_Key=key)


def test_a_key_is_required(shopper, order_request):
    answer = shopper.post("orders", order_request)
    assert (answer.status, answer.body["code"]) == (400, "shop.idempotency_key_missing")
    assert count_orders(order_request) == 0


def test_a_guest_has_to_give_an_email(shopper, order_request):
    email = order_request.pop("email")
    answer = shopper.post("orders", order_request, Idempotency_Key=uuid.uuid4().hex)
    assert (answer.status, answer.body["code"]) == (400, "orders.email_missing")
    assert count_orders({"email": email}) == 0


INVALID_EMAILS = [
    "no",
    "a@b",
    "a b@example.com",
    "a@example.com\nBcc: b@example.com",
    "a@@example.com",
    "a@example.com\n",
    1,
]
INVALID_EMAILS += [
    "a@exam\u200bple.com",
    "a\u202e@example.com",
    "a\x01@example.com",
    "a@example.c\u2066om",
    "a@exam\xadple.com",
    "kim\u3164@example.com",
    "kim\u2800@example.com",
]


@pytest.mark.parametrize("email", INVALID_EMAILS)
def test_an_invalid_email_is_refused(shopper, order_request, email):
    order_request["email"] = email
    assert_refused(shopper, order_request, 400, "shop.bad_body")


@pytest.mark.parametrize(
    "email",
    [".kim@example.com", "kim.@example.com", "k..im@example.com", "kim@-example.com", "kim@example..com", "kim@10.0.0.17",
     f"{'ö' * 40}@example.com", "a\ufe6bb@example.com", "a\uff0cb@example.com", "\ufdfa" * 4 + "@example.com"],
)  # fmt: skip
def test_an_order_needs_an_email_address_that_mail_servers_accept(shopper, order_request, email):
    order_request["email"] = email
    body = assert_refused(shopper, order_request, 400, "orders.email_invalid")
    assert [fault["pointer"] for fault in body["errors"]] == ["/email"]
    assert stock_of(order_request["items"][0]["sku"]) == (5, 0)


@pytest.mark.parametrize("field", ["name", "line1", "city", "postal_code", "country"])
def test_an_incomplete_address_is_refused(shopper, order_request, field):
    del order_request["shipping_address"][field]
    body = assert_refused(shopper, order_request, 400, "shop.bad_body")
    assert field in body["detail"]


@pytest.mark.parametrize("country", ["Germany", "de", "D", "", "D\u0000", "DE\n"])
def test_a_country_is_two_letters(shopper, order_request, country):
    order_request["shipping_address"]["country"] = country
    assert_refused(shopper, order_request, 400, "shop.bad_body")


def test_both_addresses_are_checked_and_all_faults_are_answered_at_once(shopper, order_request):
    order_request["shipping_address"] |= {"country": "US", "city": "  ", "phone": "none"}
    order_request["billing_address"] = {"name": "\u200b", "line1": "1", "country": "ZZ"}
    body = assert_refused(shopper, order_request, 400, "shop.bad_body")
    assert {(fault["pointer"], fault["code"]) for fault in body["errors"]} == {
        ("/shipping_address/city", "required"),
        ("/shipping_address/region", "required"),
        ("/shipping_address/phone", "invalid_format"),
        ("/billing_address/name", "invalid_character"),
        ("/billing_address/country", "not_allowed"),
    }


def test_an_address_is_kept_and_shown_in_one_form(shopper, order_request):
    order_request["shipping_address"] |= {"name": "  Ada   Buyer ", "postal_code": "D-10115", "company": "Satsuma "}
    order = shopper.post("orders", order_request, Idempotency_Key=uuid.uuid4().hex)
    assert order.status == 201
    shown = order.body["shipping_address"]
    assert (shown["name"], shown["postal_code"], shown["company"]) == ("Ada Buyer", "10115", "Satsuma")
    assert shopper.get_order(order.body)["shipping_address"] == shown


def test_a_country_without_postal_codes_can_be_ordered_to(shopper, order_request):
    order_request["shipping_address"] = {"name": "Ada Buyer", "line1": "1 Main Street", "city": "Doha", "country": "QA"}
    assert shopper.post("orders", order_request, Idempotency_Key=uuid.uuid4().hex).status == 201


@pytest.mark.parametrize(("length", "status"), [(254, 201), (255, 400), (256, 400), (300, 400)])
def test_an_email_is_as_long_as_its_column(shopper, order_request, length, status):
    domain = f"{'d' * 60}.{'e' * 60}.{'f' * 50}.{'g' * (length - 242)}.com"  # no label is too long
    order_request["email"] = f"{uuid.uuid4().hex * 2}@{domain}"
    assert len(order_request["email"]) == length
    assert shopper.post("orders", order_request, Idempotency_Key=uuid.uuid4().hex).status == status


def test_a_product_with_the_longest_names_can_be_ordered(shopper, order_request):
    sku = order_request["items"][0]["sku"]
    fetch_rows("inventory", "UPDATE inventory_variant SET name = repeat('v', 200) WHERE sku = %s", [sku])
    rename_product = """
    UPDATE inventory_product SET name = repeat('p', 200)
    WHERE id = (SELECT product_id FROM inventory_variant WHERE sku = %s)"""
    fetch_rows("inventory", rename_product, [sku])
    order = shopper.post("orders", order_request, Idempotency_Key=uuid.uuid4().hex)
    assert (order.status, len(order.body["lines"][0]["name"])) == (201, 402)


def test_every_fault_that_the_use_case_finds_has_its_place(shopper, order_request):
    order_request["items"] += [{"sku": sku, "quantity": 1} for sku in ("NO-SUCH-SKU", create_sku(5), "NOR-THIS")]
    body = assert_refused(shopper, order_request, 422, "inventory.unknown_sku")
    assert [(fault["pointer"], fault["detail"].partition(" ")[0]) for fault in body["errors"]] == [
        ("/items/1/sku", "NO-SUCH-SKU"),
        ("/items/3/sku", "NOR-THIS"),
    ]


def test_a_provider_is_one_of_the_shops(shopper, order_request):
    order_request["payment_method"]["provider"] = "bank_of_nowhere"
    assert_refused(shopper, order_request, 400, "orders.unknown_provider")


def test_prices_status_and_owner_come_from_the_shop_alone(shopper, order_request):
    changed = order_request | {"status": "shipped", "total": 1, "user_id": str(uuid.uuid4()), "number": "MINE"}
    changed["items"] = [order_request["items"][0] | {"unit_price": {"amount": 1, "currency": "EUR"}}]
    body = assert_refused(shopper, changed, 400, "shop.bad_body")
    assert {(fault["pointer"], fault["code"]) for fault in body["errors"]} == {
        (pointer, "unknown_member") for pointer in ("/status", "/total", "/user_id", "/number", "/items/0/unit_price")
    }


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"null", b"[]", b'"text"', b"\xff\xfe", b"{'a': 1}", b'{"items": NaN}',
        b"[" * 100_000, b'{"a":' * 50_000,
        b'{"email": "\\ud800"}', b'{"email": "a\\u0000@example.com"}', json.dumps({"items": {}}).encode(),
    ],
)  # fmt: skip
def test_a_malformed_order_is_refused(shopper, body):
    answer = shopper.post("orders", body, Idempotency_Key=uuid.uuid4().hex)
    assert (answer.status, answer.body["code"]) == (400, "shop.bad_body")


def test_a_huge_body_is_refused(shopper):
    answer = shopper.post("orders", b'{"email": "' + b"x" * 2_000_000 + b'"}', Idempotency_Key=uuid.uuid4().hex)
    assert (answer.status, answer.body["code"]) == (413, "shop.too_large")


def test_cart_or_items_but_not_both(shopper, order_request):
    cart = shopper.post("carts").body["id"]
    assert_refused(shopper, order_request | {"cart_id": cart}, 400, "orders.cart_or_items")
    del order_request["items"]
    assert_refused(shopper, order_request, 400, "orders.cart_or_items")
    assert_refused(shopper, order_request | {"cart_id": cart}, 400, "orders.cart_empty")
    assert_refused(shopper, order_request | {"cart_id": str(uuid.uuid4())}, 404, "orders.cart_not_found")


def test_an_order_of_another_customer_is_not_found(shopper, order_request):
    order = shopper.post("orders", order_request, Idempotency_Key=uuid.uuid4().hex).body
    stranger = InProcessShopper()
    stranger.register()
    owner = InProcessShopper()
    owner.register()
    own = owner.order(order_request["items"][0]["sku"]).body
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
def test_an_invalid_path_is_not_found(shopper, path):
    answer = shopper.get(path)
    assert (answer.status, answer.body["code"]) == (404, "shop.not_found")


def test_an_unsupported_method_is_405(shopper):
    answer = shopper.send("DELETE", "orders")
    assert (answer.status, answer.body["code"]) == (405, "shop.method_not_allowed")
