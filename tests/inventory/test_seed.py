"""The command seed_catalogue: missing rows are added, existing rows are not changed."""

import json
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from django.test.utils import CaptureQueriesContext

from contexts.inventory.management.commands.seed_catalogue import DEFAULT_CATALOGUE_PATH
from contexts.inventory.service import catalogue_editing
from shop.db.database import fetch_rows
from tests.factories import reserve_units
from tests.inventory.queries import assert_stock_adds_up, stock_of

SEED = json.loads(DEFAULT_CATALOGUE_PATH.read_text())


def seed(capsys):
    call_command("seed_catalogue")
    return capsys.readouterr().out


def test_the_whole_catalogue_is_for_sale_after_seeding(capsys):
    seed(capsys)
    variants = [variant for product in SEED["products"] for variant in product["variants"]]
    skus = [variant["sku"] for variant in variants]
    found = fetch_rows("inventory", "SELECT sku, initial FROM inventory_stock WHERE sku = ANY(%s)", [skus])
    assert dict(found) == {variant["sku"]: variant["stock"] for variant in variants}
    slugs = [product["slug"] for product in SEED["products"]]
    sql = "SELECT count(*) FROM inventory_product WHERE slug = ANY(%s) AND min_price > 0 AND max_price >= min_price"
    assert fetch_rows("inventory", sql, [slugs]) == [(len(slugs),)]
    assert_stock_adds_up()


def test_seeding_again_adds_nothing_and_changes_nothing(capsys):
    seed(capsys)
    sku = SEED["products"][0]["variants"][0]["sku"]
    catalogue_editing.update_variant(sku, actor="staff@example.com", price=4711)
    reserve_units((sku, 1))
    before = stock_of(sku)
    assert seed(capsys) == "Added 0 categories, 0 products, 0 variants.\n"
    assert fetch_rows("inventory", "SELECT price FROM inventory_variant WHERE sku = %s", [sku]) == [(4711,)]
    assert stock_of(sku) == before


def test_seeding_takes_at_most_12_statements_in_one_transaction():
    with CaptureQueriesContext(connections["inventory"]) as captured:
        call_command("seed_catalogue", verbosity=0)
    sql = [query["sql"] for query in captured]
    assert sql.count("BEGIN") == 1
    assert len([statement for statement in sql if statement not in ("BEGIN", "COMMIT")]) <= 12


def test_a_large_catalogue_is_added_in_several_transactions(tmp_path, capsys):
    key = uuid4().hex
    products = [
        {
            "slug": f"{key}-{n}",
            "name": "Mug",
            "category": key,
            "variants": [{"sku": f"{key}-{n}", "name": "Mug", "price": 1}],
        }
        for n in range(1001)
    ]
    file = tmp_path / "catalogue.json"
    category = {"slug": key, "name": "Category"}
    file.write_text(json.dumps({"currency": "EUR", "categories": [category], "products": products}))
    with CaptureQueriesContext(connections["inventory"]) as captured:
        call_command("seed_catalogue", str(file))
    assert [query["sql"] for query in captured].count("BEGIN") == 3
    assert capsys.readouterr().out == "Added 1 category, 1001 products, 1001 variants.\n"
    assert fetch_rows("inventory", "SELECT count(*) FROM inventory_product WHERE category = %s", [key]) == [(1001,)]


def test_a_file_that_is_not_a_catalogue_is_refused(tmp_path):
    broken = tmp_path / "catalogue.json"
    broken.write_text('{"currency": "EUR", "categories": [], "products": [{"slug": "no name"}]}')
    with pytest.raises(CommandError, match="products"):
        call_command("seed_catalogue", str(broken))
