"""The same catalogue for both shops: products of three variants each, in four categories."""

from typing import Any

import psycopg

from bench.operations import CATEGORIES, UNITS, VARIANTS, sku, word

TEXT = "Made to be used every day, and to be mended when it breaks. It comes in three sizes, and is sent within two days."


def satsuma(products: int) -> dict[str, Any]:
    """What `manage.py seed_catalogue` reads."""
    return {
        "currency": "EUR",
        "categories": [{"slug": f"shelf-{n}", "name": f"Shelf {n}"} for n in range(CATEGORIES)],
        "products": [_product(number) for number in range(products)],
    }


def _product(number: int) -> dict[str, Any]:
    return {
        "slug": f"product-{number}",
        "name": f"Product {number} {word(number)}",
        "category": f"shelf-{number % CATEGORIES}",
        "description": TEXT,
        "variants": [
            {"sku": sku(number, size), "name": f"Size {size}", "price": 1000 + number % 97 + 100 * size, "stock": UNITS}
            for size in range(VARIANTS)
        ],
    }


def fill_control(connection: psycopg.Connection, products: int) -> None:
    """The same rows into the control's tables."""
    wanted = satsuma(products)
    with connection.cursor() as cursor:
        for number, category in enumerate(wanted["categories"], 1):
            cursor.execute("INSERT INTO control_category VALUES (%s, %s, %s)", [number, category["slug"], category["name"]])
        columns = "(id, slug, name, description, category_id, is_active)"
        with cursor.copy(f"COPY control_product {columns} FROM STDIN") as copy:
            for number, one in enumerate(wanted["products"], 1):
                shelf = (number - 1) % CATEGORIES + 1
                copy.write_row((number, one["slug"], one["name"], one["description"], shelf, True))
        columns = "(product_id, sku, name, price, stock, position, currency)"
        with cursor.copy(f"COPY control_variant {columns} FROM STDIN") as copy:
            for number, one in enumerate(wanted["products"], 1):
                for position, v in enumerate(one["variants"]):
                    copy.write_row((number, v["sku"], v["name"], v["price"], v["stock"], position, wanted["currency"]))
        cursor.execute("ANALYZE")
