"""An amount keeps its currency from the offer to the payment: a foreign one is refused with both currencies."""

import json
import uuid

import pytest

from contexts.orders.service import orders
from shop.db.database import execute, fetch_rows
from tests.factories import create_sku
from tests.orders.queries import payment_of, stock_of


@pytest.fixture
def skus():
    """Create a SKU in EUR, and one whose price is in USD until the test has ended."""
    local, foreign = create_sku(5, price=4900), create_sku(5, price=4900)
    set_currency(foreign, "USD")
    yield local, foreign
    set_currency(foreign, "EUR")


def set_currency(sku, currency):
    assert execute("inventory", "UPDATE inventory_variant SET currency = %s WHERE sku = %s", [currency, sku])


def put(shopper, cart, sku):
    return shopper.send("PUT", f"carts/{cart}/items/{sku}", {"quantity": 1})


def assert_refused(answer, sku, *, offered="USD", currency="EUR"):
    assert answer.status == 409
    assert answer.body["code"] == "orders.currency_mismatch"
    assert answer.body["facts"] == {"sku": sku, "offered": offered, "currency": currency}


def test_an_order_in_another_currency_is_refused_and_stores_nothing(shopper, skus):
    local, foreign = skus
    email = f"{uuid.uuid4().hex}@example.com"
    for chosen in ((foreign,), (local, foreign)):
        assert_refused(shopper.order(*chosen, email=email), foreign)
    assert fetch_rows("orders", "SELECT 1 FROM orders_order WHERE email = %s", [email]) == []
    assert [stock_of(sku) for sku in skus] == [(5, 0), (5, 0)]


def test_a_cart_refuses_an_offer_in_another_currency(shopper, cart, skus):
    local, foreign = skus
    assert_refused(put(shopper, cart, foreign), foreign)
    shown = put(shopper, cart, local).body
    assert ([item["sku"] for item in shown["items"]], shown["currency"]) == ([local], "EUR")
    assert shown["totals"]["total"] == {"amount": 4900, "currency": "EUR"}


def test_a_cart_whose_item_is_now_priced_in_another_currency_can_be_shown_but_not_ordered(shopper, cart, skus):
    _, foreign = skus
    set_currency(foreign, "EUR")
    for sku in skus:
        put(shopper, cart, sku)
    set_currency(foreign, "USD")
    shown = shopper.get(f"carts/{cart}")
    assert (shown.status, shown.body["totals"]["total"]) == (200, {"amount": 4900, "currency": "EUR"})
    assert {item["sku"]: item["unavailable"] for item in shown.body["items"]} == {skus[0]: False, foreign: True}
    assert shown.body["changed"] == []
    assert_refused(shopper.order(items=None, cart_id=cart), foreign)
    assert shopper.send("DELETE", f"carts/{cart}/items/{foreign}").status == 200
    assert shopper.order(items=None, cart_id=cart).status == 201


def test_the_currency_of_a_cart_is_fixed_when_it_is_made(shopper, cart, skus):
    local, _ = skus
    put(shopper, cart, local)
    execute("orders", "UPDATE orders_cart SET currency = 'USD' WHERE id = %s", [cart])
    assert_refused(put(shopper, cart, local), local, offered="EUR", currency="USD")
    assert_refused(shopper.order(items=None, cart_id=cart), local, offered="EUR", currency="USD")
    assert shopper.get(f"carts/{cart}").body["currency"] == "USD"


def test_a_cart_of_an_older_release_gets_the_currency_of_its_first_offer(shopper, cart, skus):
    local, _ = skus
    execute("orders", "UPDATE orders_cart SET currency = '' WHERE id = %s", [cart])
    assert shopper.get(f"carts/{cart}").body["currency"] == "EUR"
    assert put(shopper, cart, local).status == 200
    assert fetch_rows("orders", "SELECT currency FROM orders_cart WHERE id = %s", [cart]) == [("EUR",)]


def test_every_amount_of_a_purchase_has_the_currency_of_the_offer(shopper, skus):
    local, _ = skus
    order = shopper.buy(local)
    amounts = [*order["totals"].values(), order["lines"][0]["unit_price"], order["lines"][0]["total"]]
    assert {amount["currency"] for amount in amounts} == {"EUR"}
    assert fetch_rows("orders", "SELECT currency FROM orders_orderline WHERE order_id = %s", [order["id"]]) == [
        ("EUR",)
    ]
    rows = fetch_rows(
        "payments",
        """SELECT payment.currency, intent.currency, entry.currency FROM payments_payment payment
           JOIN payments_sandboxintent intent USING (reference) JOIN payments_ledgerentry entry ON payment_id = payment.id
           WHERE order_id = %s""",
        [order["id"]],
    )
    assert rows == [("EUR",) * 3] * 2


def test_an_order_whose_currency_was_changed_is_not_charged_but_rejected(shopper, skus):
    order = shopper.order(skus[0], token="tok_requires_action").body
    relabel = "UPDATE orders_order SET currency = %s WHERE id = %s"
    execute("orders", relabel, ["USD", order["id"]])
    orders.resume(uuid.UUID(order["id"]))
    execute("orders", relabel, ["EUR", order["id"]])
    [(status, refusal)] = fetch_rows("orders", "SELECT status, refusal FROM orders_order WHERE id = %s", [order["id"]])
    assert status == "rejected"
    named = json.loads(refusal)
    assert (named["code"], named["facts"]) == ("payments.wrong_currency", {"currency": "EUR", "requested": "USD"})
    assert (payment_of(order["id"]), stock_of(skus[0])) == ("voided", (5, 0))
