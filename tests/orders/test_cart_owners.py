"""A cart belongs to its customer, or to the guest who has its id; guests with the same idempotency key share none."""

import uuid
from ipaddress import ip_network

import pytest

from shop.db.database import fetch_rows
from tests.factories import create_sku
from tests.shopper import InProcessShopper

pytestmark = pytest.mark.usefixtures("verified")


@pytest.fixture
def customer():
    customer = InProcessShopper()
    customer.register()
    return customer


@pytest.fixture
def stranger():
    stranger = InProcessShopper()
    stranger.register()
    return stranger


def create_cart_of(shopper, sku):
    cart = shopper.post("carts").body["id"]
    assert shopper.send("PUT", f"carts/{cart}/items/{sku}", {"quantity": 1}).status == 200
    return cart


def use(caller, cart, sku):
    """Read, change and order a cart. Returns the statuses."""
    return [
        caller.get(f"carts/{cart}").status,
        caller.send("PUT", f"carts/{cart}/items/{sku}", {"quantity": 2}).status,
        caller.send("PUT", f"carts/{cart}/items/{sku}", {"quantity": 9_999}).status,
        caller.send("DELETE", f"carts/{cart}/items/{sku}").status,
        caller.order(items=None, cart_id=cart).status,
    ]


def test_a_customers_cart_does_not_exist_for_any_other_caller(customer, stranger, shopper):
    sku = create_sku(5)
    cart = create_cart_of(customer, sku)
    for caller in (stranger, shopper):
        assert use(caller, cart, sku) == [404] * 5
    shown = customer.get(f"carts/{cart}").body
    assert [(item["sku"], item["quantity"]) for item in shown["items"]] == [(sku, 1)]


def test_the_order_of_a_customers_cart_is_not_named_to_others(customer, stranger, shopper):
    sku = create_sku(5)
    cart = create_cart_of(customer, sku)
    order = customer.order(items=None, cart_id=cart, email=None).body
    for caller in (stranger, shopper):
        for answer in (
            caller.get(f"carts/{cart}"),
            caller.send("DELETE", f"carts/{cart}/items/{sku}"),
            caller.order(items=None, cart_id=cart),
        ):
            assert (answer.status, answer.body["code"]) == (404, "orders.cart_not_found")
            assert order["id"] not in answer.content.decode()


def test_a_guests_cart_is_open_to_a_customer_who_has_its_id(customer, shopper):
    sku = create_sku(5)
    cart = create_cart_of(shopper, sku)
    assert customer.send("PUT", f"carts/{cart}/items/{sku}", {"quantity": 2}).status == 200
    assert customer.order(items=None, cart_id=cart, email=None).status == 201


def test_a_repeat_of_the_same_guest_returns_the_same_cart(shopper):
    key = uuid.uuid4().hex
    first, again = (shopper.post("carts", Idempotency_Key=key) for _ in range(2))
    assert (first.status, again.content) == (201, first.content)


@pytest.fixture
def from_addresses(settings):
    """Send requests from several addresses, as a proxy reports them."""
    settings.TRUSTED_PROXIES = [ip_network("127.0.0.1")]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"X_Forwarded_For": "198.51.100.7"}, {"X_Forwarded_For": "198.51.100.8"}),
        ({"X_Forwarded_For": "2001:db8:1::1"}, {"X_Forwarded_For": "2001:db8:2::1"}),
        ({"User_Agent": "Firefox"}, {"User_Agent": "Safari"}),
    ],
)
def test_two_guests_with_the_same_key_get_two_carts(from_addresses, shopper, one, other):
    key = "create-cart-1234"
    carts = [shopper.post("carts", Idempotency_Key=key, **headers) for headers in (one, other, one)]
    assert {answer.status for answer in carts} == {201}
    assert carts[0].body["id"] == carts[2].body["id"] != carts[1].body["id"]


def test_a_guest_never_gets_a_cart_that_another_one_has_filled(shopper):
    """Nothing distinguishes the two: one address, one kind of browser, one key."""
    key = uuid.uuid4().hex
    cart = shopper.post("carts", Idempotency_Key=key).body["id"]
    shopper.send("PUT", f"carts/{cart}/items/{create_sku(5)}", {"quantity": 1})
    answer = InProcessShopper().post("carts", Idempotency_Key=key)
    assert (answer.status, answer.body.get("code")) == (422, "shop.idempotency_key_reused")
    assert cart not in answer.content.decode()


def test_a_customer_gets_the_same_cart_from_every_device(customer):
    key = uuid.uuid4().hex
    cart = customer.post("carts", Idempotency_Key=key, User_Agent="Firefox").body["id"]
    customer.send("PUT", f"carts/{cart}/items/{create_sku(5)}", {"quantity": 1})
    assert customer.post("carts", Idempotency_Key=key, User_Agent="Safari").body["id"] == cart


def test_the_key_of_a_guests_cart_does_not_reveal_the_client(shopper):
    key = uuid.uuid4().hex
    shopper.post("carts", Idempotency_Key=key, User_Agent="Netscape")
    [(row,)] = fetch_rows("orders", "SELECT shop_idempotencykey::text FROM shop_idempotencykey WHERE key = %s", [key])
    assert "Netscape" not in row
    assert "127.0.0.1" not in row
