"""Build the same catalogue for both shops: products with three variants each, in four categories."""

from typing import TypedDict

import psycopg

from bench.operations import CATEGORIES, UNITS, VARIANTS, sku, word

TEXT = (
    "Made to be used every day, and to be mended when it breaks. It comes in three sizes, and is sent within two days."
)


class CategoryEntry(TypedDict):
    slug: str
    name: str


class VariantEntry(TypedDict):
    sku: str
    name: str
    price: int
    stock: int


class ProductEntry(TypedDict):
    slug: str
    name: str
    category: str
    description: str
    variants: list[VariantEntry]


class Catalogue(TypedDict):
    """The JSON that `manage.py seed_catalogue` reads."""

    currency: str
    categories: list[CategoryEntry]
    products: list[ProductEntry]


def satsuma(products: int) -> Catalogue:
    """Build the catalogue of Satsuma."""
    return {
        "currency": "EUR",
        "categories": [{"slug": f"shelf-{n}", "name": f"Shelf {n}"} for n in range(CATEGORIES)],
        "products": [_product(number) for number in range(products)],
    }


def _product(number: int) -> ProductEntry:
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
    """Write the same rows to the tables of the control."""
    catalogue = satsuma(products)
    with connection.cursor() as cursor:
        for number, category in enumerate(catalogue["categories"], 1):
            cursor.execute(
                "INSERT INTO control_category VALUES (%s, %s, %s)", [number, category["slug"], category["name"]]
            )
        columns = "(id, slug, name, description, category_id, is_active)"
        with cursor.copy(f"COPY control_product {columns} FROM STDIN") as copy:
            for number, product in enumerate(catalogue["products"], 1):
                category_id = (number - 1) % CATEGORIES + 1
                copy.write_row((number, product["slug"], product["name"], product["description"], category_id, True))
        columns = "(product_id, sku, name, price, stock, position, currency)"
        with cursor.copy(f"COPY control_variant {columns} FROM STDIN") as copy:
            for number, product in enumerate(catalogue["products"], 1):
                for position, v in enumerate(product["variants"]):
                    row = (number, v["sku"], v["name"], v["price"], v["stock"], position, catalogue["currency"])
                    copy.write_row(row)
        cursor.execute("ANALYZE")
