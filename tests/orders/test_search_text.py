"""The copy of what staff search: it follows the orders, and a migration fills it for those that exist."""

from importlib import import_module

import pytest
from django.db import connections

from shop.db.database import execute, fetch_rows
from tests.factories import create_sku
from tests.shopper import InProcessShopper

migration = import_module("contexts.orders.migrations.0013_search_text").Migration
[COPY] = [one for one in migration.operations if type(one).__name__ == "CopySearchText"]


@pytest.fixture
def order():
    return InProcessShopper().order(create_sku(5), email="Ada@example.com").body


def find_text(order):
    return [
        text for (text,) in fetch_rows("orders", "SELECT text FROM orders_order_search WHERE id = %s", [order["id"]])
    ]


def test_a_new_order_is_copied_in_lower_case(order):
    [text] = find_text(order)
    assert text.startswith(f"{order['number'].lower()} ada@example.com ")


def test_a_changed_address_is_copied(order):
    execute("orders", "UPDATE orders_order SET email = 'Other@example.com' WHERE id = %s", [order["id"]])
    [text] = find_text(order)
    assert "other@example.com" in text and "ada@" not in text


def test_the_migration_copies_the_orders_that_exist_and_keeps_newer_copies(order):
    orders = [order, *(InProcessShopper().order(create_sku(5)).body for _ in range(3))]
    texts = [find_text(one) for one in orders]
    execute("orders", "DELETE FROM orders_order_search WHERE id <> %s", [orders[-1]["id"]])
    execute("orders", "UPDATE orders_order_search SET text = 'newer'")
    with connections["orders"].schema_editor(atomic=False) as editor:
        COPY._apply(None, editor)
    assert [find_text(one) for one in orders] == [*texts[:-1], ["newer"]]
    execute("orders", "UPDATE orders_order SET email = email")
    assert [find_text(one) for one in orders] == texts


def test_the_migration_copies_page_by_page(order):
    orders = [order, *(InProcessShopper().order(create_sku(5)).body for _ in range(4))]
    execute("orders", "DELETE FROM orders_order_search")
    copy = type(COPY)("orders_order", "orders_order_search", "lower(number)", "number")
    copy.copy_page = copy.copy_page.replace(f"LIMIT {copy.BATCH_ROWS}", "LIMIT 2")
    with connections["orders"].schema_editor(atomic=False) as editor:
        copy._apply(None, editor)
        assert [find_text(one) for one in orders] == [[one["number"].lower()] for one in orders]
        COPY._apply(None, editor)
    execute("orders", "UPDATE orders_order SET email = email")
