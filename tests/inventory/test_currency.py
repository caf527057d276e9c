"""Prices in another currency than CURRENCY: they stop the start, until a command converts or removes them."""

import json
import uuid
from io import StringIO

import pytest
from django.core.checks import ERROR
from django.core.management import CommandError, call_command

from contexts.inventory.management.commands.seed_catalogue import DEFAULT_CATALOGUE_PATH
from contexts.inventory.service import currency, seeding, stock
from shop.db.database import execute, fetch_rows
from tests.factories import create_product, create_sku, reserve_units
from tests.inventory.queries import assert_stock_adds_up, stock_of

IN_EUR = "UPDATE inventory_variant SET currency = 'EUR' WHERE currency <> 'EUR'"


@pytest.fixture(autouse=True)
def only_euros_remain():
    yield
    execute("inventory", IN_EUR)


def price_in(code, *skus):
    assert execute("inventory", "UPDATE inventory_variant SET currency = %s WHERE sku = ANY(%s)", [code, list(skus)])


def run(*arguments):
    output = StringIO()
    call_command("currency", *arguments, stdout=output)
    return output.getvalue()


def read_price(sku):
    sql = "SELECT price, currency, is_active FROM inventory_variant WHERE sku = %s"
    rows = fetch_rows("inventory", sql, [sku])
    return rows[0] if rows else None


def read_range(sku):
    sql = """SELECT min_price, max_price FROM inventory_product
             WHERE id = (SELECT product_id FROM inventory_variant WHERE sku = %s)"""
    return fetch_rows("inventory", sql, [sku])[0]


def test_prices_in_another_currency_stop_the_start():
    price_in("GBP", create_sku(1))
    for command in (("check", "--database", "inventory"), ("currency", "--check")):
        with pytest.raises(CommandError, match="1 price is in GBP, but CURRENCY is EUR") as refused:
            call_command(*command)
        assert "manage.py currency --convert RATE" in str(refused.value)
    execute("inventory", IN_EUR)
    assert run("--check") == ""


def test_a_table_that_does_not_exist_yet_does_not_stop_the_start():
    execute("inventory", "ALTER TABLE inventory_variant RENAME TO inventory_variant_hidden")
    try:
        [warning] = currency.find_problems()
    finally:
        execute("inventory", "ALTER TABLE inventory_variant_hidden RENAME TO inventory_variant")
    assert "The currency of the prices could not be compared with CURRENCY" in warning.msg
    assert warning.level < ERROR


def test_prices_are_converted_with_the_decimals_of_both_currencies():
    first, second = create_product([1, 1], price=1999)
    price_in("JPY", first, second)
    output = run("--convert", "0.0061")
    assert f"{first}: 1,999 JPY → 12.19 EUR" in output
    assert "2 prices converted to EUR" in output
    assert (read_price(first), read_price(second)) == ((1219, "EUR", True), (1280, "EUR", True))
    assert read_range(first) == (1219, 1280)
    [(actor, before, after)] = fetch_rows(
        "inventory",
        "SELECT actor, detail->'before'->>'currency', detail->'after'->>'price' FROM shop_auditentry WHERE object_id = %s",
        [first],
    )
    assert (actor, before, after) == ("manage.py currency", "JPY", "1219")
    assert run("--convert", "0.0061") == "All prices are in EUR.\n"


def test_a_dry_run_changes_nothing():
    sku = create_sku(1, price=1999)
    price_in("GBP", sku)
    assert run("--convert", "1.2", "--dry-run") == f"{sku}: 19.99 GBP → 23.99 EUR\nNothing was changed.\n"
    assert run("--empty", "--dry-run") == "1 price is in GBP.\nNothing was changed.\n"
    assert run() == "1 price is in GBP.\n"
    assert read_price(sku) == (1999, "GBP", True)


def test_an_interrupted_conversion_is_continued():
    key = uuid.uuid4().hex
    products = [
        seeding.SeedProduct(
            slug=sku,
            name="Mug",
            category=key,
            variants=[seeding.SeedVariant(sku=sku, name="Size 1", price=1000)],
        )
        for sku in (f"{key}-{n}" for n in range(currency.PRODUCTS_PER_TRANSACTION + 1))
    ]
    category = seeding.SeedCategory(slug=key, name="Category")
    seeding.seed(seeding.SeedCatalogue(currency="EUR", categories=[category], products=products))
    price_in("GBP", *(product.slug for product in products))
    assert next(currency.convert("GBP", currency.Decimal(2), actor="clerk")) == currency.PRODUCTS_PER_TRANSACTION
    assert currency.count_other_currencies() == {"GBP": 1}
    assert "1 price converted" in run("--convert", "2")
    assert {read_price(product.slug) for product in products} == {(2000, "EUR", True)}


def test_a_price_that_would_be_too_high_stops_the_conversion_before_it_begins():
    cheap, dear = create_sku(1, price=1), create_sku(1, price=10**12)
    price_in("GBP", cheap, dear)
    with pytest.raises(CommandError, match=f"{dear} would cost 20,000,000,000.00 EUR"):
        run("--convert", "2")
    assert read_price(cheap) == (1, "GBP", True)
    execute("inventory", "UPDATE inventory_variant SET price = 1 WHERE sku = %s", [dear])


@pytest.mark.parametrize("rate", ["0", "-1", "NaN", "Infinity", "1,08", "1e99"])
def test_an_impossible_rate_is_refused(rate):
    with pytest.raises(CommandError, match="is not an exchange rate"):
        run(f"--convert={rate}")


def test_several_currencies_are_converted_one_after_the_other():
    pounds, yen = create_sku(1), create_sku(1)
    price_in("GBP", pounds)
    price_in("JPY", yen)
    with pytest.raises(CommandError, match=r"--from. There are prices in GBP \(1\), JPY \(1\)"):
        run("--convert", "2")
    run("--convert", "2", "--from", "GBP")
    assert (read_price(pounds), read_price(yen)) == ((3998, "EUR", True), (1999, "JPY", True))


def test_emptying_deletes_what_was_never_sold_and_keeps_the_rest_off_sale():
    [unsold], [sold] = create_product([3]), create_product([3])
    reserve_units((sold, 1))
    price_in("GBP", unsold, sold)
    [(slug,)] = fetch_rows("inventory", "SELECT slug FROM inventory_product WHERE id = "
                           "(SELECT product_id FROM inventory_variant WHERE sku = %s)", [unsold])  # fmt: skip
    assert "1 price removed; 1 variant with a history kept, off sale, at 0.00 EUR" in run("--empty")
    assert read_price(unsold) is None
    assert fetch_rows("inventory", "SELECT 1 FROM inventory_product WHERE slug = %s", [slug]) == []
    assert read_price(sold) == (0, "EUR", False)
    assert read_range(sold) == (None, None)
    assert stock_of(sold) == (3, 1)
    assert_stock_adds_up()


def test_a_received_variant_is_kept():
    sku = create_sku(0)
    stock.receive(sku=sku, quantity=2, reference="D-1", actor="clerk")
    price_in("GBP", sku)
    run("--empty")
    assert (read_price(sku), stock_of(sku)) == ((0, "EUR", False), (2, 0))


def test_a_catalogue_in_another_currency_is_refused_unless_it_is_converted(tmp_path):
    key = uuid.uuid4().hex
    product = {"slug": key, "name": "Mug", "category": key, "variants": [{"sku": key, "name": "Mug", "price": 1999}]}
    file = tmp_path / "catalogue.json"
    content = {"currency": "JPY", "categories": [{"slug": key, "name": "Category"}], "products": [product]}
    file.write_text(json.dumps(content))
    with pytest.raises(CommandError, match="The catalogue is in JPY, but CURRENCY is EUR"):
        call_command("seed_catalogue", str(file))
    assert read_price(key) is None
    call_command("seed_catalogue", str(file), "--rate", "0.0061")
    assert read_price(key) == (1219, "EUR", True)


def test_nothing_is_seeded_beside_prices_in_another_currency():
    price_in("GBP", create_sku(1))
    with pytest.raises(CommandError, match="1 price is in GBP, but CURRENCY is EUR"):
        call_command("seed_catalogue")


@pytest.mark.parametrize(("code", "price"), [("USD", 1999), ("JPY", 20), ("KWD", 19990)])
def test_the_sample_catalogue_has_the_same_numbers_in_every_currency(settings, code, price):
    settings.CURRENCY = code
    catalogue = seeding.msgspec.json.decode(DEFAULT_CATALOGUE_PATH.read_bytes(), type=seeding.SeedCatalogue)
    catalogue.products[0].variants[0].price = 1999
    converted = seeding.convert(catalogue, seeding.Decimal(1))
    assert (converted.currency, converted.products[0].variants[0].price) == (code, price)
    assert min(variant.price for product in converted.products for variant in product.variants) > 0
