"""Fill a catalogue from a file: what is missing is added, what exists stays as it is."""

from collections.abc import Iterable, Iterator
from typing import Annotated
from uuid import UUID

import msgspec
from django.db.models import Model

from contexts.inventory.models import Category, Product, Stock, Variant
from contexts.inventory.service.editing import project_prices
from shop.database import transaction
from shop.money import MAX_AMOUNT
from shop.rest import Sku

PIECE = 500  # products of a transaction: while many more are put together it is idle for longer than it may be

Slug = Annotated[str, msgspec.Meta(pattern=r"^[-a-zA-Z0-9_]{1,100}$(?!\n)")]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class SeedVariant(msgspec.Struct):
    """A variant, its price in minor units and its initial stock."""

    sku: Sku
    name: Name
    price: Annotated[int, msgspec.Meta(ge=0, le=MAX_AMOUNT)]
    stock: Annotated[int, msgspec.Meta(ge=0)] = 0


class SeedProduct(msgspec.Struct):
    """A product with its variants, in the order in which they are shown."""

    slug: Slug
    name: Name
    category: Slug
    variants: list[SeedVariant]
    description: str = ""


class SeedCategory(msgspec.Struct):
    """A category; the file's order is the shop's."""

    slug: Slug
    name: Name
    description: str = ""


class Catalogue(msgspec.Struct):
    """What the seed file holds."""

    currency: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}$(?!\n)")]
    categories: list[SeedCategory]
    products: list[SeedProduct]


class Counts(msgspec.Struct, frozen=True):
    """How many rows were added."""

    categories: int
    products: int
    variants: int


def seed(catalogue: Catalogue) -> Counts:
    """Add what is missing of the catalogue, piece by piece: of each in one transaction and a handful of statements."""
    added = [_seed(piece) for piece in _pieces(catalogue)]
    return Counts(*(sum(getattr(counts, name) for counts in added) for name in Counts.__struct_fields__))


def _pieces(catalogue: Catalogue) -> Iterator[Catalogue]:
    for first in range(0, len(catalogue.products) or 1, PIECE):
        yield msgspec.structs.replace(catalogue, products=catalogue.products[first : first + PIECE])


def _seed(catalogue: Catalogue) -> Counts:
    with transaction("inventory"):
        categories = _add_missing("slug", _categories(catalogue))
        products = _add_missing("slug", _products(catalogue))
        slugs = [product.slug for product in catalogue.products]
        ids = dict(Product.objects.filter(slug__in=slugs).values_list("slug", "id"))
        variants = _add_missing("sku", _variants(catalogue, ids))
        _add_missing("variant_id", _stock(catalogue))
        project_prices(list(ids.values()))
    return Counts(categories, products, variants)


def _add_missing(key: str, found: Iterable[Model]) -> int:
    wanted = {getattr(row, key): row for row in found}
    if not wanted:
        return 0
    table = type(next(iter(wanted.values()))).objects
    existing = set(table.filter(**{f"{key}__in": wanted}).values_list(key, flat=True))
    missing = [row for value, row in wanted.items() if value not in existing]
    table.bulk_create(missing, ignore_conflicts=True)
    return len(missing)


def _categories(catalogue: Catalogue) -> Iterator[Category]:
    for position, category in enumerate(catalogue.categories):
        yield Category(slug=category.slug, name=category.name, description=category.description, position=position)


def _products(catalogue: Catalogue) -> Iterator[Product]:
    for product in catalogue.products:
        yield Product(
            slug=product.slug, name=product.name, description=product.description, category_id=product.category
        )


def _variants(catalogue: Catalogue, ids: dict[str, UUID]) -> Iterator[Variant]:
    for product in catalogue.products:
        for position, variant in enumerate(product.variants):
            yield Variant(
                sku=variant.sku, product_id=ids[product.slug], name=variant.name, price=variant.price,
                currency=catalogue.currency, position=position,
            )  # fmt: skip


def _stock(catalogue: Catalogue) -> Iterator[Stock]:
    for product in catalogue.products:
        for variant in product.variants:
            yield Stock(variant_id=variant.sku, on_hand=variant.stock, initial=variant.stock)
