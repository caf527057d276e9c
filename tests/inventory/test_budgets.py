"""Limits on the number of SQL statements of each use case, independent of the number of rows."""

from uuid import uuid4

import pytest
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext

from contexts.inventory.interface import OutOfStock
from contexts.inventory.service import catalogue, reservations
from shop.db.database import execute
from tests.factories import HOLD_DURATION, create_product, create_sku, order_lines
from tests.inventory.staff_clients import authorization_header

TRANSACTION_STATEMENTS = ("BEGIN", "COMMIT", "ROLLBACK")


class StatementLimit(CaptureQueriesContext):
    """Assert at the end of the block that it took at most `limit` statements, not counting BEGIN, COMMIT and ROLLBACK."""

    def __init__(self, limit):
        super().__init__(connections["inventory"])
        self.limit = limit

    def __exit__(self, *exception):
        super().__exit__(*exception)
        sql = [query["sql"] for query in self if query["sql"] not in TRANSACTION_STATEMENTS]
        assert len(sql) <= self.limit, "\n".join(sql)


def get(path, limit):
    with StatementLimit(limit):
        response = Client().get(f"/api/v1/{path}")
    assert response.status_code == 200
    return response.json()


@pytest.fixture
def seeded_category():
    slug = f"category-{uuid4().hex}"
    for n in range(30):
        create_product([1, 2], category=slug, slug=f"{slug}-{n}")
    return slug


def test_categories_are_two_statements_and_then_one(seeded_category):
    get("categories", 2)
    get("categories", 1)


@pytest.mark.parametrize("query", ["", "&search=mug", "&in_stock=true&min_price=1&ordering=price", "&in_stock=false"])
def test_a_page_of_products_is_two_statements_for_any_page_size(seeded_category, query):
    for size in (1, 30):
        get(f"products?category={seeded_category}&page_size={size}{query}", 2)

    get(f"products?category={seeded_category}{query}", 2)
    get(f"products?category={seeded_category}{query}", 1)


def test_a_product_is_two_statements_and_then_one(seeded_category):
    get(f"products/{seeded_category}-0", 2)
    get(f"products/{seeded_category}-0", 1)


def test_a_quote_is_one_statement():
    skus = create_product([1] * 20)
    with StatementLimit(1):
        assert len(catalogue.quote(tuple(skus))) == 20


@pytest.mark.parametrize("count", [1, 3, 20])
def test_reserving_is_three_statements_for_any_number_of_lines(count):
    wanted = [(sku, 1) for sku in create_product([5] * count)]
    with StatementLimit(3):
        reservations.reserve(uuid4(), order_lines(*wanted), HOLD_DURATION)


def test_a_refusal_is_five_statements():
    wanted = [(sku, 2) for sku in create_product([1, 1, 1])]
    with StatementLimit(5), pytest.raises(OutOfStock):
        reservations.reserve(uuid4(), order_lines(*wanted), HOLD_DURATION)


def test_a_repeated_reserve_is_two_statements():
    sku, order_id = create_sku(5), uuid4()
    for limit in (3, 2):
        with StatementLimit(limit):
            reservations.reserve(order_id, order_lines((sku, 1)), HOLD_DURATION)


@pytest.mark.parametrize("count", [1, 3, 20])
def test_committing_is_three_statements_and_releasing_four(count):
    wanted, order_id = [(sku, 1) for sku in create_product([5] * count)], uuid4()
    reservations.reserve(order_id, order_lines(*wanted), HOLD_DURATION)
    with StatementLimit(3):
        reservations.commit(order_id)
    with StatementLimit(4):
        reservations.release(order_id)


def test_a_receipt_is_three_statements_and_three_of_its_key():
    sku = create_sku(1)
    with StatementLimit(6):
        body = {"sku": sku, "quantity": 1, "reference": "DN-1"}
        headers = authorization_header("inventory.change") | {"Idempotency-Key": uuid4().hex}
        response = Client().post("/api/v1/staff/stock/receipts", body, "application/json", headers=headers)
    assert response.status_code == 201


def test_control_an_extra_statement_is_detected():
    with pytest.raises(AssertionError), StatementLimit(0):
        execute("inventory", "SELECT 1")
