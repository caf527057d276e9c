"""HTTP API of inventory: the public catalogue, and stock for staff."""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any
from uuid import UUID

import msgspec
from django.http import HttpResponse
from django.urls import path
from django.utils.cache import get_conditional_response
from rest_framework.request import Request

from contexts.inventory.interface import UnknownSku
from contexts.inventory.service import catalogue, catalogue_editing, stock
from contexts.inventory.service.catalogue import CategoryRow, ProductRow
from contexts.inventory.service.catalogue_cache import RenderedResponse, get_or_render
from shop import sizes
from shop.errors import NotFound, PreconditionFailed
from shop.http import converters, rest  # noqa: F401 converters registers <sku:…>
from shop.http.idempotency import Key, respond_once
from shop.http.pagination import Page, PageQuery, paginate
from shop.http.rate_limits import Limiter
from shop.http.reading import RequestBody
from shop.http.rest import (
    ANYONE,
    IF_MATCH_HEADER,
    Currency,
    Sku,
    Staff,
    Text,
    endpoint,
    read_if_match,
    respond,
    respond_with_version,
)
from shop.ids import uuid7
from shop.money import MAX_AMOUNT, Money

CACHE_CONTROL = "public, max-age=0, must-revalidate"  # any cache may store it, but has to revalidate each time
Slug = Annotated[
    str,
    msgspec.Meta(
        max_length=sizes.SLUG_LENGTH,
        pattern=r"^[-a-zA-Z0-9_]+$(?!\n)",
        extra={"expected": "letters, digits, hyphens and underscores"},
    ),
]
Amount = Annotated[int, msgspec.Meta(ge=0, le=MAX_AMOUNT)]
Units = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
SignedUnits = Annotated[int, msgspec.Meta(ge=-1_000_000, le=1_000_000, extra_json_schema={"not": {"const": 0}})]


class ProductQuery(PageQuery, kw_only=True):
    """Filters and ordering of a product list."""

    search: Annotated[
        str, msgspec.Meta(max_length=200, description="Words. -word excludes a word, quotes match a phrase.")
    ] = ""
    category: Annotated[Slug | None, msgspec.Meta(description="Slug of a category.")] = None
    min_price: Annotated[Amount | None, msgspec.Meta(description="Minor units. A variant costs at least this.")] = None
    max_price: Annotated[Amount | None, msgspec.Meta(description="Minor units. A variant costs at most this.")] = None
    in_stock: Annotated[bool | None, msgspec.Meta(description="true: available now. false: sold out.")] = None
    ordering: Annotated[
        catalogue.Ordering | None,
        msgspec.Meta(description="Default: by relevance with `search`, otherwise newest first."),
    ] = None


class CategoryView(msgspec.Struct):
    """A category."""

    id: UUID
    slug: str
    name: str
    description: str


class VariantView(msgspec.Struct):
    """A variant that can be put into a cart. `available` units can be bought now."""

    sku: str
    name: str
    price: Money
    available: int


class ProductView(msgspec.Struct):
    """A product with its variants. `category` is a category's slug."""

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


class Receipt(RequestBody):
    """Delivered units and the reference of the delivery."""

    sku: Sku
    quantity: Units
    reference: Text


class Adjustment(RequestBody):
    """A signed correction of the stock and its reason."""

    sku: Sku
    quantity: SignedUnits
    reason: Text


class NewPrice(RequestBody):
    """A price in minor units, in the currency of the variant."""

    amount: Amount
    currency: Currency


class StaffProductView(msgspec.Struct):
    """A product as staff see it, for sale or not. `category` is a category's slug."""

    id: UUID
    slug: str
    name: str
    description: str
    category: str
    is_active: bool


class ProductPatch(RequestBody):
    """Changes of a product. Omitted fields keep their value."""

    name: Text | msgspec.UnsetType = msgspec.UNSET
    description: Annotated[str, msgspec.Meta(max_length=5000)] | msgspec.UnsetType = msgspec.UNSET
    category: Slug | msgspec.UnsetType = msgspec.UNSET
    is_active: bool | msgspec.UnsetType = msgspec.UNSET


class StaffVariantView(msgspec.Struct):
    """A variant as staff see it, for sale or not. `product` is a product's slug."""

    sku: str
    product: str
    name: str
    price: Money
    position: int
    is_active: bool


class VariantPatch(RequestBody):
    """Changes of a variant. Omitted fields keep their value."""

    name: Annotated[str, msgspec.Meta(max_length=sizes.VARIANT_NAME_LENGTH)] | msgspec.UnsetType = msgspec.UNSET
    price: NewPrice | msgspec.UnsetType = msgspec.UNSET
    position: Annotated[int, msgspec.Meta(ge=0, le=sizes.MAX_INT)] | msgspec.UnsetType = msgspec.UNSET
    is_active: bool | msgspec.UnsetType = msgspec.UNSET


class InventoryView(rest.View):
    """Base of the views of inventory."""

    context = "inventory"


_variants_decoder = msgspec.json.Decoder(list[VariantView])


def _to_category_views(rows: list[CategoryRow]) -> list[CategoryView]:
    return [_to_category_view(row) for row in rows]


def _to_category_view(row: CategoryRow) -> CategoryView:
    return CategoryView(id=row["id"], slug=row["slug"], name=row["name"], description=row["description"])


def _to_product_views(rows: list[ProductRow]) -> list[ProductView]:
    return [_to_product_view(row) for row in rows]


def _to_product_view(row: ProductRow) -> ProductView:
    return ProductView(
        id=row["id"],
        slug=row["slug"],
        name=row["name"],
        description=row["description"],
        category=row["category_id"],
        variants=_variants_decoder.decode(row["for_sale"]),
    )


def _to_stock_view(level: stock.StockLevel) -> StockView:
    return StockView(sku=level.sku, on_hand=level.on_hand, reserved=level.reserved, available=level.available)


def respond_cached(request: Request, build_view: Callable[[], msgspec.Struct]) -> HttpResponse:
    """Respond from the cache with current availability; build the view only after the catalogue has changed."""
    key = request.build_absolute_uri()
    return respond_with_etag(request, get_or_render(key, lambda: msgspec.json.encode(build_view())))


def respond_uncached(request: Request, view: msgspec.Struct) -> HttpResponse:
    """Respond with a view that is built for each request."""
    return respond_with_etag(request, RenderedResponse.from_content(msgspec.json.encode(view)))


def respond_with_etag(request: Request, rendered: RenderedResponse) -> HttpResponse:
    """Respond with the content and its ETag, or with 304 if the client has this content (RFC 9110, 13.1.2)."""
    headers = {"Cache-Control": CACHE_CONTROL, "ETag": rendered.etag}
    response = HttpResponse(rendered.content, content_type="application/json", headers=headers)
    return get_conditional_response(request._request, etag=rendered.etag, response=response) or response


class CategoryList(InventoryView):
    @endpoint(access=ANYONE, query=PageQuery, responses={200: Page[CategoryView], 304: None})
    def get(self, request: Request, query: PageQuery) -> HttpResponse:
        """List the categories in display order."""
        ordering = ("position", "slug")
        return respond_cached(
            request,
            lambda: paginate(
                request, query, catalogue.list_categories(), ordering=ordering, to_view=_to_category_views
            ),
        )


class ProductList(InventoryView):
    @endpoint(
        access=ANYONE,
        query=ProductQuery,
        responses={200: Page[ProductView], 304: None},
        limits=("search",),
        count_limits="by_use_case",
    )
    def get(self, request: Request, query: ProductQuery, limiter: Limiter) -> HttpResponse:
        """List the products for sale. Filter them by words, category, price and availability.

        429: too many searches by words. Lists without `search` are not limited.
        """
        if query.search:
            limiter.count()
        if query.in_stock is None:
            return respond_cached(request, lambda: self._search(request, query))
        return respond_uncached(request, self._search(request, query))

    def _search(self, request: Request, query: ProductQuery) -> Page[ProductView]:
        products = catalogue.search_products(
            search=query.search,
            category=query.category or "",
            min_price=query.min_price,
            max_price=query.max_price,
            in_stock=query.in_stock,
        )
        ordering = catalogue.ORDERINGS[query.ordering or ("relevance" if query.search else "newest")]
        never_null = ("min_price", "relevance")
        return paginate(request, query, products, ordering=ordering, to_view=_to_product_views, never_null=never_null)


class ProductDetail(InventoryView):
    @endpoint(access=ANYONE, responses={200: ProductView, 304: None}, errors=(NotFound,))
    def get(self, request: Request, slug: str) -> HttpResponse:
        """Get a product with its variants, their prices and available units."""
        return respond_uncached(request, _to_product_view(catalogue.get_product(slug)))


class Receipts(InventoryView):
    @endpoint(
        access=Staff("inventory.change"),
        body=Receipt,
        responses={201: StockView},
        errors=(UnknownSku,),
        idempotency="required",
    )
    def post(self, request: Request, body: Receipt, key: Key) -> HttpResponse:
        """Add delivered units to the stock."""
        actor = request.user.get_username()
        receive = partial(stock.receive, sku=body.sku, quantity=body.quantity, reference=body.reference, actor=actor)
        return _move_once(key, receive)


class Adjustments(InventoryView):
    @endpoint(
        access=Staff("inventory.change"),
        body=Adjustment,
        responses={201: StockView},
        errors=(UnknownSku, stock.BelowReserved, stock.NothingToAdjust),
        idempotency="required",
    )
    def post(self, request: Request, body: Adjustment, key: Key) -> HttpResponse:
        """Correct the stock. Units that are reserved for orders cannot be removed: 409."""
        actor = request.user.get_username()
        adjust = partial(stock.adjust, sku=body.sku, quantity=body.quantity, reason=body.reason, actor=actor)
        return _move_once(key, adjust)


def _move_once(key: Key, move: Callable[..., stock.StockLevel]) -> HttpResponse:
    """Book a stock movement once per key. The key is kept as long as the movement, which is for ever."""
    uid = uuid7()
    return respond_once("inventory", key, lambda: respond(_to_stock_view(move(uid=uid)), 201), resource=uid)


class StaffProduct(InventoryView):
    @endpoint(access=Staff("inventory.view"), responses={200: StaffProductView}, errors=(NotFound,))
    def get(self, request: Request, slug: str) -> HttpResponse:
        """Get a product, for sale or not. Its ETag is for the `If-Match` of a change."""
        return _respond_with_product(slug)

    @endpoint(
        access=Staff("inventory.change"),
        body=ProductPatch,
        responses={200: StaffProductView},
        errors=(NotFound, PreconditionFailed, catalogue_editing.UnknownCategory),
        headers=IF_MATCH_HEADER,
    )
    def patch(self, request: Request, slug: str, body: ProductPatch) -> HttpResponse:
        """Change a product. With `If-Match`, nothing is saved if it was changed after it was read: 412."""
        changes = _list_changes(body)
        if "category" in changes:
            changes["category"] = catalogue_editing.find_category(changes["category"])
        catalogue_editing.update_product(
            catalogue_editing.find_product(slug).pk,
            actor=request.user.get_username(),
            expected_version=read_if_match(request),
            **changes,
        )
        return _respond_with_product(slug)


class StaffVariant(InventoryView):
    @endpoint(access=Staff("inventory.view"), responses={200: StaffVariantView}, errors=(NotFound,))
    def get(self, request: Request, sku: str) -> HttpResponse:
        """Get a variant, for sale or not. Its ETag is for the `If-Match` of a change."""
        return _respond_with_variant(sku)

    @endpoint(
        access=Staff("inventory.change"),
        body=VariantPatch,
        responses={200: StaffVariantView},
        errors=(NotFound, PreconditionFailed, catalogue_editing.OtherPriceCurrency),
        headers=IF_MATCH_HEADER,
    )
    def patch(self, request: Request, sku: str, body: VariantPatch) -> HttpResponse:
        """Change a variant or its price. With `If-Match`, nothing is saved if it was changed after it was read: 412."""
        changes, variant = _list_changes(body), catalogue_editing.find_variant(sku)
        if "price" in changes:
            price: NewPrice = changes["price"]
            catalogue_editing.assert_price_currency(variant, price.currency)
            changes["price"] = price.amount
        catalogue_editing.update_variant(
            sku, actor=request.user.get_username(), expected_version=read_if_match(request), **changes
        )
        return _respond_with_variant(sku)


def _list_changes(body: msgspec.Struct) -> dict[str, Any]:
    """Return the fields of a patch that were sent."""
    sent = {name: getattr(body, name) for name in body.__struct_fields__}
    return {name: value for name, value in sent.items() if value is not msgspec.UNSET}


def _respond_with_product(slug: str) -> HttpResponse:
    row = catalogue_editing.find_product(slug)
    view = StaffProductView(
        id=row.pk,
        slug=row.slug,
        name=row.name,
        description=row.description,
        category=row.category_id,
        is_active=row.is_active,
    )
    return respond_with_version(view, catalogue_editing.get_version(row))


def _respond_with_variant(sku: str) -> HttpResponse:
    row = catalogue_editing.find_variant(sku)
    view = StaffVariantView(
        sku=row.sku,
        product=row.product.slug,
        name=row.name,
        price=row.money,
        position=row.position,
        is_active=row.is_active,
    )
    return respond_with_version(view, catalogue_editing.get_version(row))


urlpatterns = [
    path("categories", CategoryList.as_view()),
    path("products", ProductList.as_view()),
    path("products/<slug:slug>", ProductDetail.as_view()),
    path("staff/products/<slug:slug>", StaffProduct.as_view()),
    path("staff/variants/<sku:sku>", StaffVariant.as_view()),
    path("staff/stock/receipts", Receipts.as_view()),
    path("staff/stock/adjustments", Adjustments.as_view()),
]
