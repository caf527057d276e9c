"""The catalogue as customers read it: what is for sale, what it costs, how many units can be bought now."""

import hashlib
import re
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any, Literal, NamedTuple

from django.contrib.postgres.search import SearchQuery, SearchRank
from django.db.models import Exists, F, IntegerField, OuterRef, QuerySet, TextField
from django.db.models.expressions import RawSQL
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


ROOM = 16_000_000  # bytes that each process keeps of answers

# A product's variants as a JSON text. In a list PostgreSQL looks at them after it has cut the page.
_VARIANTS = """
(SELECT json_agg(json_build_object('sku', sku, 'name', name, 'price', json_build_object('amount', price, 'currency', currency),
                                   'available', on_hand - reserved) ORDER BY position, sku)
 FROM inventory_variant JOIN inventory_stock USING (sku)
 WHERE product_id = inventory_product.id AND inventory_variant.is_active)::text"""
_PRODUCT = Prepared(f"""
SELECT id, slug, name, description, category AS category_id, {_VARIANTS} AS for_sale
FROM inventory_product WHERE slug = %s AND is_active AND min_price IS NOT NULL""")
_FOR_SALE = RawSQL(_VARIANTS, (), output_field=TextField())  # noqa: S611 no word of it comes from outside


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
        return found.filter(document=query).values(*FIELDS, relevance=rank, for_sale=_FOR_SALE)
    return found.values(*FIELDS, for_sale=_FOR_SALE)


def _buyable(**conditions: Any) -> QuerySet:
    return Variant.objects.filter(is_active=True, stock__on_hand__gt=F("stock__reserved"), **conditions)


def _variant_conditions(min_price: int | None, max_price: int | None, in_stock: bool | None) -> dict[str, Any]:
    conditions = {"price__gte": min_price, "price__lte": max_price}
    if in_stock:
        conditions["stock__on_hand__gt"] = F("stock__reserved")
    return {name: value for name, value in conditions.items() if value is not None}


def product(slug: str) -> dict[str, Any]:
    """One product for sale, as a row. Raises NotFound."""
    for found in rows("inventory", _PRODUCT, [slug]):
        return dict(zip(("id", "slug", "name", "description", "category_id", "for_sale"), found, strict=True))
    raise NotFound


class Answer(NamedTuple):
    """An answer about the catalogue as it is sent, with the ETag of its content."""

    content: bytes
    etag: str

    @classmethod
    def of(cls, content: bytes) -> "Answer":
        return cls(content, f'W/"{hashlib.blake2b(content, digest_size=16).hexdigest()}"')


class _Page:
    """An answer cut where the units of its variants stand, so that it can be put together again with other units."""

    def __init__(self, content: bytes) -> None:
        self.pieces = _UNITS.split(content)
        self.skus = [sku.decode() for sku in _SKU.findall(content)]
        self.last: tuple[list[int], Answer] = [int(units) for units in _UNITS.findall(content)], Answer.of(content)

    def answer(self, units: list[int]) -> Answer:
        before, answer = self.last
        if units != before:
            parts = zip(self.pieces, [*(str(n).encode() for n in units), b""], strict=True)
            answer = Answer.of(b"".join(chain.from_iterable(parts)))
            self.last = units, answer
        return answer


# Only a member's name can be found so: within a JSON text's strings each quotation mark has a backslash before it.
_UNITS = re.compile(rb'(?<="available":)\d+')
_SKU = re.compile(rb'(?<="sku":")[\w.-]+')


class _Shelf:
    """The answers of one version of the catalogue."""

    def __init__(self, version: int) -> None:
        self.version = version
        self.pages: dict[str, _Page] = {}
        self.room = ROOM


_PRESENT = Prepared("""
SELECT (SELECT sum(version)::bigint FROM inventory_catalogueversion),
       ARRAY(SELECT on_hand - reserved FROM unnest(%s::text[]) WITH ORDINALITY AS asked (sku, place)
             JOIN inventory_stock USING (sku) ORDER BY place)""")
_shelf = _Shelf(0)


def kept(name: str, make: Callable[[], bytes]) -> Answer:
    """What `make` answered under this name, with the units of this moment; made anew after the catalogue has changed.

    What is made must not depend on stock but for the units that it shows. Never out of date: the database raises the
    version in the transaction of each change. Asked first, it may be older than what is then read, but never newer.
    """
    global _shelf
    page = _shelf.pages.get(name)
    [(version, units)] = rows("inventory", _PRESENT, [page.skus if page else []])
    shelf = _shelf
    if shelf.version != version:
        _shelf = shelf = _Shelf(version)
    if page and shelf.pages.get(name) is page:
        return page.answer(units)
    page = _Page(make())
    shelf.pages[name] = page
    shelf.room -= 2 * (len(name) + sum(map(len, page.pieces)))  # in pieces, and whole
    if shelf.room < 0:
        _shelf = _Shelf(version)
    return page.last[1]
