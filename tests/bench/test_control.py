"""The control is a shop that does the same work as Satsuma: prices, stock, order lines, payment and notification."""

import pytest

from bench.operations import UNITS, sku
from tests.shopper import Shopper


class Customer(Shopper):
    """A shopper that sends the Content-Type, which the control requires."""

    def post(self, path, body=None, **headers):
        return super().post(path, body, Content_Type="application/json", **headers)


@pytest.fixture
def shopper(control):
    return Customer(f"http://127.0.0.1:{control.port}")


@pytest.fixture
def tables(control):
    """Return a function that selects one value from the control's database."""
    return lambda statement, *values: control.count(control.databases[0], statement % tuple(map(repr, values)))


STOCK = "SELECT stock FROM control_variant WHERE sku = %s"


def test_an_order_takes_stock_and_writes_lines_payment_and_notification(shopper, tables):
    skus = [sku(product, 1) for product in (10, 11, 12)]
    order = shopper.order(*skus)
    assert order.status == 201
    assert [tables(STOCK, one) for one in skus] == [UNITS - 1] * 3
    assert [line["sku"] for line in order.body["lines"]] == skus
    written = "SELECT count(*) FROM control_orderline WHERE order_id = %s"
    assert tables(written, order.body["id"]) == 3
    paid = "SELECT amount FROM control_payment WHERE status = 'captured' AND order_id = %s"
    assert tables(paid, order.body["id"]) == order.body["total"] == sum(line["total"] for line in order.body["lines"])
    assert tables("SELECT count(*) FROM control_notification WHERE order_id = %s", order.body["id"]) == 1


@pytest.fixture
def almost_sold_out(control):
    """Leave one unit of a SKU, and return the SKU."""
    connection, one = control.connections[control.databases[0]], sku(20, 0)
    counted = "UPDATE control_variant SET stock = %s WHERE sku = %s"
    connection.execute(counted, [1, one])
    yield one
    connection.execute(counted, [UNITS, one])  # other tests order at random


def test_an_order_out_of_stock_is_refused_and_writes_nothing(shopper, tables, control, almost_sold_out):
    before, available = control.orders(), sku(21, 0)
    items = [{"sku": available, "quantity": 1}, {"sku": almost_sold_out, "quantity": 2}]
    response = shopper.order(items=items)
    assert (response.status, response.body["sku"]) == (409, almost_sold_out)
    assert (tables(STOCK, available), tables(STOCK, almost_sold_out), control.orders()) == (UNITS, 1, before)


def test_a_bad_order_is_refused(shopper):
    assert shopper.order(sku(1, 0), email="invalid").status == 400
    assert shopper.order("NOT-SOLD-HERE").status == 409


def test_list_and_detail_show_prices_and_stock_as_satsuma_does(shopper, satsuma):
    satsuma_shopper = Shopper(f"http://127.0.0.1:{satsuma.port}")
    for listed in shopper.get("products?category=shelf-1").body["results"]:
        path = f"products/{listed['slug']}"
        shown, expected = shopper.get(path).body, satsuma_shopper.get(path).body
        assert shown == listed
        assert _comparable(shown, shown["variants"]) == _comparable(expected, expected["variants"])
    for shop in (shopper, satsuma_shopper):
        listed = shop.get("products?category=shelf-1").body["results"]
        assert len(listed) == 20 and {one["category"] for one in listed} == {"shelf-1"}


def _comparable(product, variants):
    """Return the fields of a product that both shops have."""
    prices = [one["price"]["amount"] if isinstance(one["price"], dict) else one["price"] for one in variants]
    named = [(one["sku"], one["name"]) for one in variants]
    return product["slug"], product["name"], product["description"], product["category"], prices, named
