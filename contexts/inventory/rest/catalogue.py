"""REST endpoints for the public catalogue: categories and products."""

from collections.abc import Callable
from typing import Annotated
from uuid import UUID

import msgspec
from django.conf import settings
from django.http import HttpResponse
from django.utils.cache import get_conditional_response
from rest_framework.request import Request

from contexts.inventory.rest.base import Amount, InventoryView, Slug
from contexts.inventory.service import catalogue
from contexts.inventory.service.catalogue import CategoryRow, ProductRow
from contexts.inventory.service.catalogue_cache import RenderedResponse, find_or_render, get_or_render
from shop.errors import NotFound
from shop.http.pagination import Page, PageQuery, paginate
from shop.http.rate_limits import Limiter
from shop.http.repeated_requests import mark_repeatable
from shop.http.rest import ANYONE, endpoint
from shop.money import Money

CACHE_CONTROL = "public, max-age=0, must-revalidate"  # any cache may store it, but has to revalidate each time


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


def respond_cached(
    request: Request, key: str, build_view: Callable[[], msgspec.Struct], *, is_repeatable: bool = True
) -> HttpResponse:
    """Respond from the cache with current availability; build the view only after the catalogue has changed.

    is_repeatable: whether the response to the same request may be repeated before the framework runs.
    """
    response = respond_with_etag(request, get_or_render(key, lambda: msgspec.json.encode(build_view())))
    if is_repeatable and settings.CATALOGUE_FAST_PATH:
        mark_repeatable(response, "inventory", find_or_render, key)
    return response


def build_list_key(request: Request, query: PageQuery) -> str:
    """Return the key of a page of a list.

    It has the query as it was read, so that other spellings of it, and parameters that are ignored, add no page to the cache.
    It has the address of the list, because the links in a page do.
    """
    return f"{request.build_absolute_uri(request.path)} {msgspec.json.encode(query).decode()}"


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
            build_list_key(request, query),
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
            key, is_counted = build_list_key(request, query), bool(query.search)
            return respond_cached(request, key, lambda: self._search(request, query), is_repeatable=not is_counted)
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
        response = respond_cached(
            request, request.path, lambda: _to_product_view(catalogue.get_product(slug)), is_repeatable=False
        )
        if settings.CATALOGUE_FAST_PATH:
            mark_repeatable(response, "inventory", find_or_render_products, request.path, is_family=True)
        return response


def find_or_render_products(paths: list[str]) -> list[RenderedResponse | None]:
    """Return the responses for the paths of products, rendered if necessary. None if there is no such product for sale."""
    return find_or_render(paths, _render_products)


def _render_products(paths: list[str]) -> dict[str, bytes]:
    by_slug = {path.rpartition("/")[2]: path for path in paths}
    views = map(_to_product_view, catalogue.list_products(list(by_slug)))
    return {by_slug[view.slug]: msgspec.json.encode(view) for view in views}
