"""The catalogue as customers read it: what is for sale, what it costs, how many units can be bought now."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple
from uuid import UUID

from django.contrib.postgres.search import SearchQuery, SearchRank
from django.db.models import Exists, F, IntegerField, OuterRef, QuerySet
from django.db.models.functions import Cast

from contexts.inventory.interface import Offer, UnknownSku
from contexts.inventory.models import Category, Product, Variant
from shop.database import Prepared, rows
from shop.errors import NotFound
from shop.money import Money

Ordering = Literal["name", "-name", "price", "-price", "newest"]
# The id makes an order total. It is a UUIDv7 and sorts by time, so the newest products are those with the highest ids.
ORDERINGS: dict[str, tuple[str, ...]] = {
    "name": ("name", "id"),
    "-name": ("-name", "-id"),
    "price": ("min_price", "id"),
    "-price": ("-min_price", "-id"),
    "newest": ("-id",),
    "relevance": ("-relevance", "-id"),
}
FIELDS = ("id", "slug", "name", "description", "category_id", "min_price")


class Sellable(NamedTuple):
    """A variant that is for sale."""

    sku: str
    name: str
    price: Money
    available: int


def quote(skus: tuple[str, ...]) -> tuple[Offer, ...]:
    """See the interface."""
    found = {sku: (name, Money(amount, currency), units) for sku, name, amount, currency, units in _offers(skus)}
    missing = next((sku for sku in skus if sku not in found), None)
    if missing is not None:
        raise UnknownSku(sku=missing)
    return tuple(_offer(sku, *found[sku]) for sku in skus)


def _offer(sku: str, name: str, price: Money, available: int) -> Offer:
    return Offer(sku=sku, name=name, price=price, available=available)


def _offers(skus: Iterable[str]) -> list[tuple]:
    return rows("inventory", _OFFERS, [list(skus)])


_OFFERS = Prepared("""
SELECT sku, concat_ws(', ', product.name, nullif(variant.name, '')), price, currency, on_hand - reserved
FROM inventory_variant variant
     JOIN inventory_stock USING (sku)
     JOIN inventory_product product ON product.id = variant.product_id
WHERE sku = ANY(%s) AND variant.is_active AND product.is_active""")


def categories() -> QuerySet:
    """All categories, as rows."""
    return Category.objects.values("id", "slug", "name", "description", "position")


def products(
    *,
    search: str = "",
    category: str = "",
    min_price: int | None = None,
    max_price: int | None = None,
    in_stock: bool | None = None,
) -> QuerySet:
    """The products for sale to which all of this applies, as flat rows.

    One and the same variant has to meet price and availability. `relevance` is among the fields of a search, a whole
    number, so that a page can begin exactly where the last one ended.
    """
    found = Product.objects.filter(is_active=True, min_price__isnull=False)
    if category:
        found = found.filter(category=category)
    if wanted := _variant_conditions(min_price, max_price, in_stock):
        found = found.filter(Exists(Variant.objects.filter(product=OuterRef("pk"), is_active=True, **wanted)))
    if in_stock is False:
        found = found.exclude(Exists(_buyable(product=OuterRef("pk"))))
    if search:
        query = SearchQuery(search, search_type="websearch", config="english")
        rank = Cast(SearchRank(F("document"), query) * 1_000_000, IntegerField())
        return found.filter(document=query).values(*FIELDS, relevance=rank)
    return found.values(*FIELDS)


def _buyable(**conditions: Any) -> QuerySet:
    return Variant.objects.filter(is_active=True, stock__on_hand__gt=F("stock__reserved"), **conditions)


def _variant_conditions(min_price: int | None, max_price: int | None, in_stock: bool | None) -> dict[str, Any]:
    conditions = {"price__gte": min_price, "price__lte": max_price}
    if in_stock:
        conditions["stock__on_hand__gt"] = F("stock__reserved")
    return {name: value for name, value in conditions.items() if value is not None}


def product(slug: str) -> dict[str, Any]:
    """One product for sale, as a row. Raises NotFound."""
    found = products().filter(slug=slug).first()
    if found is None:
        raise NotFound
    return found


def variants(product_ids: Iterable[UUID]) -> dict[UUID, list[Sellable]]:
    """The variants for sale of these products, each product's in their order."""
    found = rows(
        "inventory",
        """SELECT product_id, sku, name, price, currency, on_hand - reserved
           FROM inventory_variant JOIN inventory_stock USING (sku)
           WHERE product_id = ANY(%s) AND is_active ORDER BY position, sku""",
        [list(product_ids)],
    )
    by_product: dict[UUID, list[Sellable]] = defaultdict(list)
    for product_id, sku, name, price, currency, available in found:
        by_product[product_id].append(Sellable(sku, name, Money(price, currency), available))
    return by_product
