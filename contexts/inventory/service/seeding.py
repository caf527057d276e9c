"""Import of a seed catalogue in CURRENCY: missing rows are added, existing rows are not changed."""

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Annotated, TypeVar
from uuid import UUID

import msgspec
from django.conf import settings
from django.db.models import Model

from contexts.inventory.models import Category, Product, Stock, Variant
from contexts.inventory.service.catalogue_editing import update_price_ranges
from contexts.inventory.service.currency import PriceTooHigh, require_one_currency
from shop.db.database import transaction
from shop.errors import Unprocessable
from shop.http.rest import Sku
from shop.money import MAX_AMOUNT, Money, convert_money

# With many more, the transaction is idle in Python for longer than the database's idle timeout allows.
PRODUCTS_PER_TRANSACTION = 500

ModelT = TypeVar("ModelT", bound=Model)

Slug = Annotated[str, msgspec.Meta(pattern=r"^[-a-zA-Z0-9_]{1,100}$(?!\n)")]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class SeedVariant(msgspec.Struct):
    """A variant with its price in minor units and its initial stock."""

    sku: Sku
    name: Name
    price: Annotated[int, msgspec.Meta(ge=0, le=MAX_AMOUNT)]
    stock: Annotated[int, msgspec.Meta(ge=0)] = 0


class SeedProduct(msgspec.Struct):
    """A product with its variants in display order."""

    slug: Slug
    name: Name
    category: Slug
    variants: list[SeedVariant]
    description: str = ""


class SeedCategory(msgspec.Struct):
    """A category. The order in the file is the display order."""

    slug: Slug
    name: Name
    description: str = ""


class SeedCatalogue(msgspec.Struct):
    """Content of a seed file."""

    currency: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}$(?!\n)")]
    categories: list[SeedCategory]
    products: list[SeedProduct]


class SeedCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers of added rows."""

    categories: int
    products: int
    variants: int


class WrongCurrency(Unprocessable):
    """The catalogue is in {currency}, but CURRENCY is {expected}."""

    currency: str
    expected: str


def convert(catalogue: SeedCatalogue, rate: Decimal) -> SeedCatalogue:
    """Return the catalogue with prices in CURRENCY, rounded half up. rate: units of CURRENCY for one unit of the catalogue's.

    Raises PriceTooHigh.
    """
    products = [
        msgspec.structs.replace(
            product, variants=[_convert_price(variant, catalogue.currency, rate) for variant in product.variants]
        )
        for product in catalogue.products
    ]
    return msgspec.structs.replace(catalogue, currency=settings.CURRENCY, products=products)


def _convert_price(variant: SeedVariant, currency: str, rate: Decimal) -> SeedVariant:
    price = convert_money(Money(variant.price, currency), settings.CURRENCY, rate)
    if price.amount > MAX_AMOUNT:
        raise PriceTooHigh(sku=variant.sku, price=price)
    return msgspec.structs.replace(variant, price=price.amount)


def seed(catalogue: SeedCatalogue) -> SeedCounts:
    """Add missing rows of the catalogue in batches. Each batch is one transaction with a few statements.

    Raises WrongCurrency for a catalogue that is not in CURRENCY, OtherCurrency if the shop has prices that are not.
    """
    if catalogue.currency != settings.CURRENCY:
        raise WrongCurrency(currency=catalogue.currency, expected=settings.CURRENCY)
    require_one_currency()
    added = [_seed_batch(batch) for batch in _split_into_batches(catalogue)]
    return SeedCounts(
        categories=sum(counts.categories for counts in added),
        products=sum(counts.products for counts in added),
        variants=sum(counts.variants for counts in added),
    )


def _split_into_batches(catalogue: SeedCatalogue) -> Iterator[SeedCatalogue]:
    for first in range(0, len(catalogue.products) or 1, PRODUCTS_PER_TRANSACTION):
        yield msgspec.structs.replace(catalogue, products=catalogue.products[first : first + PRODUCTS_PER_TRANSACTION])


def _seed_batch(catalogue: SeedCatalogue) -> SeedCounts:
    with transaction("inventory"):
        categories = _insert_missing(Category, "slug", _build_categories(catalogue))
        products = _insert_missing(Product, "slug", _build_products(catalogue))
        slugs = [product.slug for product in catalogue.products]
        ids = dict(Product.objects.filter(slug__in=slugs).values_list("slug", "id"))
        variants = _insert_missing(Variant, "sku", _build_variants(catalogue, ids))
        _insert_missing(Stock, "variant_id", _build_stock(catalogue))
        update_price_ranges(list(ids.values()))
    return SeedCounts(categories=categories, products=products, variants=variants)


def _insert_missing(model: type[ModelT], key: str, rows: Iterable[ModelT]) -> int:
    wanted = {getattr(row, key): row for row in rows}
    if not wanted:
        return 0
    table = model._default_manager
    existing = set(table.filter(**{f"{key}__in": wanted}).values_list(key, flat=True))
    missing = [row for value, row in wanted.items() if value not in existing]
    table.bulk_create(missing, ignore_conflicts=True)
    return len(missing)


def _build_categories(catalogue: SeedCatalogue) -> Iterator[Category]:
    for position, category in enumerate(catalogue.categories):
        yield Category(slug=category.slug, name=category.name, description=category.description, position=position)


def _build_products(catalogue: SeedCatalogue) -> Iterator[Product]:
    for product in catalogue.products:
        yield Product(
            slug=product.slug, name=product.name, description=product.description, category_id=product.category
        )


def _build_variants(catalogue: SeedCatalogue, ids: dict[str, UUID]) -> Iterator[Variant]:
    for product in catalogue.products:
        for position, variant in enumerate(product.variants):
            yield Variant(
                sku=variant.sku,
                product_id=ids[product.slug],
                name=variant.name,
                price=variant.price,
                currency=catalogue.currency,
                position=position,
            )


def _build_stock(catalogue: SeedCatalogue) -> Iterator[Stock]:
    for product in catalogue.products:
        for variant in product.variants:
            yield Stock(variant_id=variant.sku, on_hand=variant.stock, initial=variant.stock)
