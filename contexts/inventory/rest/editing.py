"""REST endpoints for staff who change products and variants."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from django.http import HttpResponse
from rest_framework.request import Request

from contexts.inventory.rest.base import Amount, InventoryView, Slug
from contexts.inventory.service import catalogue_editing
from shop import sizes
from shop.errors import NotFound, PreconditionFailed
from shop.http.reading import RequestBody
from shop.http.rest import (
    IF_MATCH_HEADER,
    Currency,
    Staff,
    Text,
    endpoint,
    read_if_match,
    respond_with_version,
)
from shop.money import Money


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
    description: Annotated[str, msgspec.Meta(max_length=5000, extra={"content": "lines"})] | msgspec.UnsetType = (
        msgspec.UNSET
    )
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
