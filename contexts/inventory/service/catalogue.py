"""Queries of the catalogue: products for sale with their prices and available units."""

from typing import Any, Literal, NamedTuple, TypedDict, cast
from uuid import UUID

from django.contrib.postgres.search import SearchQuery, SearchRank
from django.db.models import Exists, F, IntegerField, OuterRef, Q, QuerySet, TextField
from django.db.models.expressions import RawSQL
from django.db.models.functions import Cast

from contexts.inventory.interface import Offer, UnknownSku
from contexts.inventory.models import Category, Product, Variant
from shop.db.database import PreparedStatement, fetch_rows
from shop.errors import NotFound
from shop.money import Money

Ordering = Literal["name", "-name", "price", "-price", "newest"]
# The id makes each order total. It is a UUIDv7 and sorts by time, so the newest products have the highest ids.
ORDERINGS: dict[str, tuple[str, ...]] = {
    "name": ("name", "id"),
    "-name": ("-name", "-id"),
    "price": ("min_price", "id"),
    "-price": ("-min_price", "-id"),
    "newest": ("-id",),
    "relevance": ("-relevance", "-id"),
}
PRODUCT_FIELDS = ("id", "slug", "name", "description", "category_id", "min_price")


class OfferRow(NamedTuple):
    """A variant, as the offers statement returns it."""

    sku: str
    name: str
    price: int
    currency: str
    available: int
    for_sale: bool


class CategoryRow(TypedDict):
    """A category as a flat row."""

    id: UUID
    slug: str
    name: str
    description: str
    position: int


class ProductRow(TypedDict):
    """A product for sale as a flat row. `for_sale` is a JSON text: the list of its active variants."""

    id: UUID
    slug: str
    name: str
    description: str
    category_id: str
    for_sale: str


# The variants of a product as a JSON text. For a list, PostgreSQL evaluates it only for the rows of the page.
_VARIANTS_SQL = """
(SELECT json_agg(json_build_object('sku', sku, 'name', name, 'price', json_build_object('amount', price, 'currency', currency),
                                   'available', on_hand - reserved) ORDER BY position, sku)
 FROM inventory_variant JOIN inventory_stock USING (sku)
 WHERE product_id = inventory_product.id AND inventory_variant.is_active)::text"""
_VARIANTS_EXPRESSION = RawSQL(_VARIANTS_SQL, (), output_field=TextField())  # noqa: S611 no part of it is user input

_PRODUCT_SQL = PreparedStatement(f"""
SELECT id, slug, name, description, category AS category_id, {_VARIANTS_SQL} AS for_sale
FROM inventory_product WHERE slug = ANY(%s) AND is_active AND min_price IS NOT NULL""")
_PRODUCT_COLUMNS = ("id", "slug", "name", "description", "category_id", "for_sale")

_OFFERS_SQL = PreparedStatement("""
SELECT sku, concat_ws(', ', product.name, nullif(variant.name, '')), price, currency, on_hand - reserved,
       variant.is_active AND product.is_active
FROM inventory_variant variant
     JOIN inventory_stock USING (sku)
     JOIN inventory_product product ON product.id = variant.product_id
WHERE sku = ANY(%s)""")


def quote(skus: tuple[str, ...]) -> tuple[Offer, ...]:
    """Implement `Inventory.quote`."""
    offers = {offer.sku: offer for offer in find_offers(skus) if offer.for_sale}
    if missing := tuple(dict.fromkeys(sku for sku in skus if sku not in offers)):
        raise UnknownSku(sku=missing[0], skus=missing)
    return tuple(offers[sku] for sku in skus)


def find_offers(skus: tuple[str, ...]) -> tuple[Offer, ...]:
    """Implement `Inventory.offers`."""
    rows = (OfferRow(*row) for row in fetch_rows("inventory", _OFFERS_SQL, [list(skus)]))
    return tuple(_to_offer(row) for row in rows)


def _to_offer(row: OfferRow) -> Offer:
    return Offer(
        sku=row.sku,
        name=row.name,
        price=Money(row.price, row.currency),
        available=row.available if row.for_sale else 0,
        for_sale=row.for_sale,
    )


def list_categories() -> QuerySet[Category, CategoryRow]:
    """Return all categories as flat rows."""
    return Category.objects.values("id", "slug", "name", "description", "position")


def search_products(
    *,
    search: str = "",
    category: str = "",
    min_price: int | None = None,
    max_price: int | None = None,
    in_stock: bool | None = None,
) -> QuerySet[Product, ProductRow]:
    """Return the products for sale that meet all conditions, as flat rows. Prices are in minor units.

    Price and availability have to be met by the same variant. With `search`, the rows also have a `relevance`: a whole
    number, so that a page starts exactly where the previous one ended.
    """
    products = Product.objects.filter(is_active=True, min_price__isnull=False)
    if category:
        products = products.filter(category__slug=category)
    if conditions := _build_variant_conditions(min_price, max_price, in_stock):
        products = products.filter(Exists(_filter_active_variants(conditions)))
    if in_stock is False:
        products = products.exclude(Exists(_filter_active_variants(_IS_AVAILABLE)))
    if search:
        query = SearchQuery(search, search_type="websearch", config="english")
        rank = Cast(SearchRank(F("document"), query) * 1_000_000, IntegerField())
        products = products.filter(document=query).annotate(relevance=rank)
        return _to_rows(products, "relevance")
    return _to_rows(products)


_IS_AVAILABLE = Q(stock__on_hand__gt=F("stock__reserved"))


def _build_variant_conditions(min_price: int | None, max_price: int | None, in_stock: bool | None) -> Q:
    conditions = Q()
    if min_price is not None:
        conditions &= Q(price__gte=min_price)
    if max_price is not None:
        conditions &= Q(price__lte=max_price)
    return conditions & _IS_AVAILABLE if in_stock else conditions


def _filter_active_variants(conditions: Q) -> QuerySet[Variant]:
    """Return a subquery: the active variants of the outer query's product that meet the conditions."""
    return Variant.objects.filter(conditions, product=OuterRef("pk"), is_active=True)


def _to_rows(products: QuerySet[Product, Any], *extra_fields: str) -> QuerySet[Product, ProductRow]:
    return cast(
        QuerySet[Product, ProductRow],
        products.values(*PRODUCT_FIELDS, *extra_fields, for_sale=_VARIANTS_EXPRESSION),
    )


def get_product(slug: str) -> ProductRow:
    """Return one product for sale as a flat row. Raises NotFound."""
    rows = list_products([slug])
    if not rows:
        raise NotFound
    return rows[0]


def list_products(slugs: list[str]) -> list[ProductRow]:
    """Return these products as flat rows; those that are not for sale are omitted."""
    rows = fetch_rows("inventory", _PRODUCT_SQL, [slugs])
    return [cast(ProductRow, dict(zip(_PRODUCT_COLUMNS, row, strict=True))) for row in rows]
