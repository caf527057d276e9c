"""Changes of a cart: few statements, none lost when several are made at once, and none after the cart was ordered."""

import pytest
from django.conf import settings

from contexts.orders.service.carts import CartFull
from shop.db.database import fetch_rows
from tests.concurrency import repeat_concurrently, run_before_statement
from tests.factories import create_product, create_sku
from tests.orders.test_budget import measure

pytestmark = pytest.mark.usefixtures("verified")

WRITE_OF_AN_ITEM = "INSERT INTO orders_cartitem"


def put(shopper, cart, sku, quantity=1):
    return shopper.send("PUT", f"carts/{cart}/items/{sku}", {"quantity": quantity})


def items_of(answer):
    return [(item["sku"], item["quantity"]) for item in answer.body["items"]]


@pytest.mark.usefixtures("in_one_process")
@pytest.mark.parametrize("count", [0, 1, 20])
def test_a_change_is_three_statements_and_one_transaction_for_any_number_of_items(shopper, cart, count):
    skus = create_product([5] * 21)
    for sku in skus[:count]:
        put(shopper, cart, sku)
    for change in (
        lambda: put(shopper, cart, skus[-1], 2),
        lambda: put(shopper, cart, skus[-1], 3),
        lambda: shopper.send("DELETE", f"carts/{cart}/items/{skus[-1]}"),
    ):
        counted = measure(lambda change=change: change().status)
        assert len(counted.statements) <= 3, "\n".join(counted.statements)
        assert counted.transactions() == 1
    assert len(measure(lambda: shopper.get(f"carts/{cart}")).statements) <= 2


def test_the_response_to_a_change_is_the_cart_as_it_is_stored(shopper, cart):
    first, second, third = (create_sku(9) for _ in range(3))
    for sku, quantity in ((first, 1), (second, 2), (third, 3), (first, 4)):
        answer = put(shopper, cart, sku, quantity)
        assert answer.content == shopper.get(f"carts/{cart}").content
    assert (items_of(answer), answer.body["version"]) == ([(first, 4), (second, 2), (third, 3)], 4)
    answer = shopper.send("DELETE", f"carts/{cart}/items/{second}")
    assert answer.content == shopper.get(f"carts/{cart}").content
    assert (items_of(answer), answer.body["version"]) == ([(first, 4), (third, 3)], 5)


def test_changes_of_a_cart_at_the_same_time_are_all_made(shopper, cart):
    skus = create_product([9] * 12)
    answers = repeat_concurrently(12, lambda number: put(shopper, cart, skus[number], number + 1 if number < 9 else 1))
    assert [answer.status for answer in answers] == [200] * 12
    assert sorted(answer.body["version"] for answer in answers) == list(range(1, 13))
    assert sorted(items_of(shopper.get(f"carts/{cart}"))) == sorted(
        (sku, number + 1 if number < 9 else 1) for number, sku in enumerate(skus)
    )


@pytest.mark.usefixtures("in_one_process")
def test_a_change_that_another_one_overtakes_is_made_to_the_changed_cart(shopper, cart):
    first, second, third = (create_sku(9) for _ in range(3))
    put(shopper, cart, first)

    def change():
        return put(shopper, cart, second, 2), shopper.send("DELETE", f"carts/{cart}/items/{first}")

    with run_before_statement("orders", WRITE_OF_AN_ITEM, change):
        answer = put(shopper, cart, third, 3)
    assert (answer.status, items_of(answer), answer.body["version"]) == (200, [(second, 2), (third, 3)], 4)
    assert answer.content == shopper.get(f"carts/{cart}").content


@pytest.mark.usefixtures("in_one_process")
def test_an_item_put_into_a_cart_that_is_ordered_meanwhile_is_refused(shopper, cart):
    sku, other = create_sku(5), create_sku(5)
    put(shopper, cart, sku)
    with run_before_statement("orders", WRITE_OF_AN_ITEM, lambda: shopper.order(items=None, cart_id=cart)) as ordered:
        answer = put(shopper, cart, other)
    assert (answer.status, answer.body.get("code")) == (409, "orders.cart_closed")
    assert answer.body["facts"]["order_id"] == ordered[0].body["id"]
    assert fetch_rows("orders", "SELECT sku FROM orders_cartitem WHERE cart_id = %s", [cart]) == [(sku,)]


@pytest.mark.usefixtures("in_one_process")
def test_the_last_place_in_a_cart_is_taken_once(shopper, cart, settings):
    settings.MAX_CART_ITEMS = 2
    first, second, third = (create_sku(5) for _ in range(3))
    put(shopper, cart, first)
    with run_before_statement("orders", WRITE_OF_AN_ITEM, lambda: put(shopper, cart, second)) as others:
        answer = put(shopper, cart, third)
    assert (others[0].status, answer.status, answer.body.get("code")) == (200, 409, "orders.cart_full")
    assert put(shopper, cart, second, 3).status == 200, "an item that is in the cart needs no other place"
    assert items_of(shopper.get(f"carts/{cart}")) == [(first, 1), (second, 3)]


def test_a_cart_takes_as_many_items_as_it_may_hold(shopper, cart):
    skus = create_product([5] * (settings.MAX_CART_ITEMS + 1))
    assert {put(shopper, cart, sku).status for sku in skus[:-1]} == {200}
    answer = put(shopper, cart, skus[-1])
    assert (answer.status, answer.body.get("code")) == (409, "orders.cart_full")
    assert answer.body["facts"] == {"most": CartFull.most}
    assert len(shopper.get(f"carts/{cart}").body["items"]) == settings.MAX_CART_ITEMS
