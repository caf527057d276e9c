"""Carts and the catalogue: changed prices are announced, what is not for sale is shown, and only available units fit."""

import pytest

from contexts.inventory.service import catalogue_editing
from shop.calls import services
from shop.db.database import fetch_rows
from tests.factories import create_product, create_sku
from tests.orders.queries import stock_of
from tests.shopper import InProcessShopper
from tests.topologies.five_processes import single_process

pytestmark = pytest.mark.usefixtures("verified")


def put(shopper: InProcessShopper, cart: str, sku: str, quantity: int = 1):
    return shopper.send("PUT", f"carts/{cart}/items/{sku}", {"quantity": quantity})


def set_price(sku: str, price: int) -> None:
    catalogue_editing.update_variant(sku, actor="staff@example.com", price=price)


def take_off_sale(sku: str) -> None:
    catalogue_editing.update_variant(sku, actor="staff@example.com", is_active=False)


def euros(amount: int) -> dict:
    return {"amount": amount, "currency": "EUR"}


def count_orders(cart: str) -> int:
    return fetch_rows("orders", "SELECT count(*) FROM orders_order WHERE cart_id = %s", [cart])[0][0]


def test_a_cart_lists_the_items_whose_price_changed_since_they_were_set(shopper, cart):
    sku, other = create_sku(5, price=1000, name="Cup"), create_sku(5, price=700)
    assert put(shopper, cart, sku, 2).body["changed"] == []
    set_price(sku, 1250)
    for shown in (put(shopper, cart, other), shopper.get(f"carts/{cart}"), shopper.get(f"carts/{cart}")):
        changed = [(change["sku"], change["previous_price"], change["unit_price"]) for change in shown.body["changed"]]
        assert changed == [(sku, euros(1000), euros(1250))]
        assert shown.body["changed"][0]["name"].startswith("Cup")
    assert shopper.get(f"carts/{cart}").body["totals"]["total"] == euros(2 * 1250 + 700)
    assert put(shopper, cart, sku, 2).body["changed"] == [], "setting it again accepts the price"


def test_a_price_that_changed_back_is_no_change(shopper, cart):
    sku = create_sku(5, price=1000)
    put(shopper, cart, sku)
    set_price(sku, 1250)
    set_price(sku, 1000)
    assert shopper.get(f"carts/{cart}").body["changed"] == []


def test_a_total_that_is_not_the_expected_one_is_refused_and_nothing_is_stored(shopper, cart):
    sku = create_sku(5, price=1000)
    put(shopper, cart, sku, 2)
    expected = shopper.get(f"carts/{cart}").body["totals"]["total"]
    set_price(sku, 1250)
    answer = shopper.order(items=None, cart_id=cart, expected_total=expected, key="a-key-of-a-guest")
    assert (answer.status, answer.body.get("code")) == (409, "orders.price_changed")
    assert answer.body["facts"] == {"expected_total": euros(2000), "total": euros(2500)}
    assert (count_orders(cart), stock_of(sku)) == (0, (5, 0))
    answer = shopper.order(items=None, cart_id=cart, expected_total=euros(2500), key="a-key-of-a-guest")
    assert (answer.status, answer.body["totals"]["total"]) == (201, euros(2500))


@pytest.mark.parametrize("expected", [euros(1999), {"amount": 2000, "currency": "USD"}])
def test_a_total_of_another_amount_or_currency_is_refused_also_without_a_cart(shopper, expected):
    sku = create_sku(5, price=2000)
    answer = shopper.order(sku, expected_total=expected)
    assert (answer.status, answer.body.get("code")) == (409, "orders.price_changed")
    assert answer.body["facts"] == {"expected_total": expected, "total": euros(2000)}
    assert shopper.order(sku, expected_total=euros(2000)).status == 201


def test_more_than_can_be_bought_is_refused_with_the_available_units(shopper, cart):
    sku = create_sku(3)
    assert put(shopper, cart, sku, 3).status == 200
    answer = put(shopper, cart, sku, 4)
    assert (answer.status, answer.body.get("code")) == (409, "inventory.out_of_stock")
    assert answer.body["facts"] == {"sku": sku, "available": 3}
    assert [item["quantity"] for item in shopper.get(f"carts/{cart}").body["items"]] == [3]
    sold_out = put(shopper, cart, create_sku(0))
    assert (sold_out.status, sold_out.body["facts"]["available"]) == (409, 0)


def test_what_is_no_longer_for_sale_is_shown_as_unavailable_and_costs_nothing(shopper, cart):
    kept, gone = create_sku(5, price=700), create_sku(5, price=1000, name="Old mug")
    for sku in (gone, kept):
        put(shopper, cart, sku, 2)
    take_off_sale(gone)
    shown = shopper.get(f"carts/{cart}").body
    lines = {item["sku"]: item for item in shown["items"]}
    assert (lines[gone]["available"], lines[gone]["unavailable"], lines[gone]["quantity"]) == (0, True, 2)
    assert (lines[gone]["total"], lines[gone]["name"].split(",")[0]) == (euros(0), "Old mug")
    assert lines[kept]["unavailable"] is False
    assert shown["totals"]["total"] == euros(1400)
    assert shown["changed"] == []


def test_an_order_of_unavailable_items_names_all_of_them(shopper, cart):
    kept, *gone = create_product([5] * 4)
    for sku in (kept, *gone):
        put(shopper, cart, sku)
    for sku in gone:
        take_off_sale(sku)
    answer = shopper.order(items=None, cart_id=cart)
    assert (answer.status, answer.body.get("code")) == (422, "inventory.unknown_sku")
    assert answer.body["facts"]["skus"] == gone
    assert all(sku in answer.body["detail"] for sku in gone)
    assert count_orders(cart) == 0
    for sku in gone:
        assert shopper.send("DELETE", f"carts/{cart}/items/{sku}").status == 200
    assert shopper.order(items=None, cart_id=cart).status == 201


def test_a_cart_full_of_unavailable_items_costs_one_call(shopper, cart):
    skus = create_product([5] * 30)
    for sku in skus:
        put(shopper, cart, sku)
    for sku in skus:
        take_off_sale(sku)
    with single_process():
        count = len(services.call_log)
        shown = shopper.get(f"carts/{cart}").body
        calls = [method for _, method, *_ in list(services.call_log)[count:]]
    assert all(item["unavailable"] for item in shown["items"]) and len(shown["items"]) == 30
    assert calls == ["inventory.offers"]
