"""How many SQL statements each use case may take, whatever the number of rows."""

from uuid import uuid4

import pytest
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext

from contexts.inventory.interface import OutOfStock
from contexts.inventory.service import catalogue, reservations
from shop.database import changed
from tests.inventory.staff import bearer
from tests.inventory.stock import HOLD, lines, product, stocked

FRAME = ("BEGIN", "COMMIT", "ROLLBACK")


class Budget(CaptureQueriesContext):
    """So many statements, the frame of the transaction aside; checked at the end of the block."""

    def __init__(self, limit):
        super().__init__(connections["inventory"])
        self.limit = limit

    def __exit__(self, *exception):
        super().__exit__(*exception)
        sql = [query["sql"] for query in self if query["sql"] not in FRAME]
        assert len(sql) <= self.limit, "\n".join(sql)


def get(path, limit):
    with Budget(limit):
        answer = Client().get(f"/api/v1/{path}")
    assert answer.status_code == 200
    return answer.json()


@pytest.fixture
def shelf():
    slug = f"shelf-{uuid4().hex}"
    for n in range(30):
        product([1, 2], category=slug, slug=f"{slug}-{n}")
    return slug


def test_categories_are_two_statements_and_then_one(shelf):
    get("categories", 2)
    get("categories", 1)


@pytest.mark.parametrize("query", ["", "&search=mug", "&in_stock=true&min_price=1&ordering=price", "&in_stock=false"])
def test_a_page_of_products_is_two_statements_whatever_its_size(shelf, query):
    for size in (1, 30):
        get(f"products?category={shelf}&page_size={size}{query}", 2)


    get(f"products?category={shelf}{query}", 2)
    get(f"products?category={shelf}{query}", 1)


def test_a_product_is_one_statement(shelf):
    get(f"products/{shelf}-0", 1)


def test_a_quote_is_one_statement():
    skus = product([1] * 20)
    with Budget(1):
        assert len(catalogue.quote(tuple(skus))) == 20


@pytest.mark.parametrize("count", [1, 3, 20])
def test_reserving_is_three_statements_whatever_the_number_of_lines(count):
    wanted = [(sku, 1) for sku in product([5] * count)]
    with Budget(3):
        reservations.reserve(uuid4(), lines(*wanted), HOLD)


def test_a_refusal_is_five_statements():
    wanted = [(sku, 2) for sku in product([1, 1, 1])]
    with Budget(5), pytest.raises(OutOfStock):
        reservations.reserve(uuid4(), lines(*wanted), HOLD)


def test_a_repeat_is_two_statements():
    sku, order_id = stocked(5), uuid4()
    for limit in (3, 2):
        with Budget(limit):
            reservations.reserve(order_id, lines((sku, 1)), HOLD)


@pytest.mark.parametrize("count", [1, 3, 20])
def test_committing_is_three_statements_and_releasing_four(count):
    wanted, order_id = [(sku, 1) for sku in product([5] * count)], uuid4()
    reservations.reserve(order_id, lines(*wanted), HOLD)
    with Budget(3):
        reservations.commit(order_id)
    with Budget(4):
        reservations.release(order_id)


def test_a_receipt_is_three_statements():
    sku = stocked(1)
    with Budget(3):
        body = {"sku": sku, "quantity": 1, "reference": "DN-1"}
        headers = bearer("inventory.change")
        answer = Client().post("/api/v1/staff/stock/receipts", body, "application/json", headers=headers)
    assert answer.status_code == 201


def test_control_one_statement_too_many_is_noticed():
    with pytest.raises(AssertionError), Budget(0):
        changed("inventory", "SELECT 1")
