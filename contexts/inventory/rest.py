"""HTTP of inventory: the catalogue for everybody, stock for staff."""

from collections.abc import Callable
from typing import Annotated, Any
from uuid import UUID

import msgspec
from django.http import HttpResponse
from django.urls import path
from django.utils.cache import get_conditional_response
from rest_framework.request import Request

from contexts.inventory.service import catalogue, stock
from shop import rest
from shop.money import MAX_AMOUNT, Money
from shop.rest import ANYONE, Page, PageQuery, Sku, Staff, Text, endpoint, page

CACHING = "public, max-age=0, must-revalidate"  # anybody may keep it, and asks each time whether it still holds
Slug = Annotated[str, msgspec.Meta(pattern=r"^[-a-zA-Z0-9_]{1,100}$(?!\n)")]
Amount = Annotated[int, msgspec.Meta(ge=0, le=MAX_AMOUNT)]
Units = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
SignedUnits = Annotated[int, msgspec.Meta(ge=-1_000_000, le=1_000_000, extra_json_schema={"not": {"const": 0}})]


class ProductQuery(PageQuery, kw_only=True):
    """Which products, in which order."""

    search: Annotated[str, msgspec.Meta(max_length=200, description="Words; -word excludes, quotes bind.")] = ""
    category: Annotated[Slug | None, msgspec.Meta(description="Slug of a category.")] = None
    min_price: Annotated[Amount | None, msgspec.Meta(description="Minor units: a variant costs this or more.")] = None
    max_price: Annotated[Amount | None, msgspec.Meta(description="Minor units: a variant costs this or less.")] = None
    in_stock: Annotated[bool | None, msgspec.Meta(description="true: can be bought now; false: sold out.")] = None
    ordering: Annotated[
        catalogue.Ordering | None, msgspec.Meta(description="Without: newest first, a search by relevance.")
    ] = None


class CategoryView(msgspec.Struct):
    """A category."""

    id: UUID
    slug: str
    name: str
    description: str


class VariantView(msgspec.Struct):
    """One thing that can be put into a cart; `available` units can be bought now."""

    sku: str
    name: str
    price: Money
    available: int


class ProductView(msgspec.Struct):
    """A product with its variants. `category` is the slug of one."""

    id: UUID
    slug: str
    name: str
    description: str
    category: str
    variants: list[VariantView]


class StockView(msgspec.Struct):
    """The stock of one SKU."""

    sku: str
    on_hand: int
    reserved: int
    available: int


class Receipt(msgspec.Struct):
    """Delivered units, and the delivery that they came with."""

    sku: Sku
    quantity: Units
    reference: Text


class Adjustment(msgspec.Struct):
    """A signed correction of the count, and why."""

    sku: Sku
    quantity: SignedUnits
    reason: Text


class View(rest.View):
    """A view of inventory."""

    context = "inventory"


_variants = msgspec.json.Decoder(list[VariantView])


def _categories(rows: list[dict[str, Any]]) -> list[CategoryView]:
    return [CategoryView(row["id"], row["slug"], row["name"], row["description"]) for row in rows]


def _products(rows: list[dict[str, Any]]) -> list[ProductView]:
    return [_product(row) for row in rows]


def _product(row: dict[str, Any]) -> ProductView:
    return ProductView(
        id=row["id"], slug=row["slug"], name=row["name"], description=row["description"], category=row["category_id"],
        variants=_variants.decode(row["for_sale"]),
    )  # fmt: skip


def _stock(level: stock.Level) -> StockView:
    return StockView(sku=level.sku, on_hand=level.on_hand, reserved=level.reserved, available=level.available)


def kept(request: Request, make: Callable[[], Any]) -> HttpResponse:
    """What was answered at this address since the catalogue changed last, with the units of now; else it is made."""
    return revalidated(request, catalogue.kept(request.build_absolute_uri(), lambda: msgspec.json.encode(make())))


def revalidated(request: Request, answer: catalogue.Answer) -> HttpResponse:
    """The answer with an ETag of its content, or 304 without it for who has it already (RFC 9110, 13.1.2)."""
    headers = {"Cache-Control": CACHING, "ETag": answer.etag}
    response = HttpResponse(answer.content, content_type="application/json", headers=headers)
    return get_conditional_response(request._request, etag=answer.etag, response=response)


class CategoryList(View):
    @endpoint(who=ANYONE, query=PageQuery, answers={200: Page[CategoryView], 304: None})
    def get(self, request: Request, query: PageQuery) -> HttpResponse:
        """The categories, in the order of the shop."""
        ordering = ("position", "slug")
        return kept(request, lambda: page(request, catalogue.categories(), ordering=ordering, to_view=_categories))


class ProductList(View):
    @endpoint(who=ANYONE, query=ProductQuery, answers={200: Page[ProductView], 304: None})
    def get(self, request: Request, query: ProductQuery) -> HttpResponse:
        """The products for sale, found by words, category, price and availability."""
        if query.in_stock is None:
            return kept(request, lambda: self._found(request, query))
        return revalidated(request, catalogue.Answer.of(msgspec.json.encode(self._found(request, query))))

    def _found(self, request: Request, query: ProductQuery) -> Page[ProductView]:
        found = catalogue.products(
            search=query.search, category=query.category or "", min_price=query.min_price, max_price=query.max_price,
            in_stock=query.in_stock,
        )  # fmt: skip
        ordering = catalogue.ORDERINGS[query.ordering or ("relevance" if query.search else "newest")]
        return page(request, found, ordering=ordering, to_view=_products)


class ProductDetail(View):
    @endpoint(who=ANYONE, answers={200: ProductView, 304: None})
    def get(self, request: Request, slug: str) -> HttpResponse:
        """One product with its variants, their prices and what can be bought of each now."""
        found = msgspec.json.encode(_product(catalogue.product(slug)))
        return revalidated(request, catalogue.Answer.of(found))


class Receipts(View):
    @endpoint(who=Staff("inventory.change"), body=Receipt, answers={201: StockView})
    def post(self, request: Request, body: Receipt) -> StockView:
        """Put delivered units on the shelf."""
        actor = request.user.get_username()
        return _stock(stock.receive(sku=body.sku, quantity=body.quantity, reference=body.reference, actor=actor))


class Adjustments(View):
    @endpoint(who=Staff("inventory.change"), body=Adjustment, answers={201: StockView})
    def post(self, request: Request, body: Adjustment) -> StockView:
        """Correct the count on the shelf. What is reserved for orders cannot be taken away: 409."""
        actor = request.user.get_username()
        return _stock(stock.adjust(sku=body.sku, quantity=body.quantity, reason=body.reason, actor=actor))


urlpatterns = [
    path("categories", CategoryList.as_view()),
    path("products", ProductList.as_view()),
    path("products/<slug:slug>", ProductDetail.as_view()),
    path("staff/stock/receipts", Receipts.as_view()),
    path("staff/stock/adjustments", Adjustments.as_view()),
]
