"""The list of a customer's orders: every order is on one page, the latest first."""

from urllib.parse import quote, urlsplit

import pytest

from shop.db.database import execute, fetch_rows
from tests.factories import create_sku
from tests.shopper import InProcessShopper

_COPY_SQL = """
INSERT INTO orders_order SELECT copy.* FROM orders_order original, generate_series(1, %s) n, LATERAL jsonb_populate_record(
    original, jsonb_build_object('id', gen_random_uuid(), 'number', 'C' || n, 'cart_id', NULL, 'due_at', NULL)) copy
WHERE original.id = %s"""


@pytest.fixture
def customer():
    shopper = InProcessShopper()
    shopper.register()
    return shopper


@pytest.fixture
def equal_orders(customer):
    """A customer with 1,101 orders that were placed at the same time."""
    order = customer.order(create_sku(5)).body
    execute("orders", _COPY_SQL, [1_100, order["id"]])
    yield order
    copies = "email = %s AND NOT EXISTS (SELECT 1 FROM orders_orderline WHERE order_id = orders_order.id)"
    execute("orders", f"DELETE FROM orders_order WHERE {copies}", [order["email"]])


def walk(customer, path, direction="next"):
    found = []
    while path:
        page = customer.get(urlsplit(path)._replace(scheme="", netloc="").geturl()).body
        found += [order["id"] for order in page["results"]][:: 1 if direction == "next" else -1]
        last, path = path, page[direction]
        assert len(found) <= 1_200, "the pages do not end"
    return found, last


def test_more_than_a_thousand_orders_of_one_moment_are_each_on_one_page(customer, equal_orders):
    found, last = walk(customer, "orders?page_size=100")
    assert len(found) == 1_101 == len(set(found)) and equal_orders["id"] in found
    expected = fetch_rows("orders", "SELECT id FROM orders_order WHERE id = ANY(%s::uuid[]) ORDER BY id DESC", [found])
    assert found == [str(key) for (key,) in expected]
    assert walk(customer, last, "previous")[0] == found[::-1]


def test_the_url_of_the_next_page_is_accepted_as_cursor(customer):
    placed = [customer.order(create_sku(1)).body["id"] for _ in range(3)]
    url = customer.get("orders?page_size=1").body["next"]
    page = customer.get(f"orders?page_size=1&cursor={quote(url, safe='')}").body
    assert [order["id"] for order in page["results"]] == [placed[1]]
    assert customer.get("orders?page_size=101").status == 400
