"""Sizes: whatever a request may contain fits the column that it is stored in."""

from collections.abc import Iterator
from typing import Annotated, Any
from uuid import UUID

import msgspec
import pytest
from django.apps import apps
from django.db import models
from django.urls import get_resolver
from msgspec import inspect

from shop import sizes
from shop.http.converters import SkuConverter
from shop.http.reading import RequestBody
from shop.http.rest import View
from tests.architecture.test_routes import METHODS, routes

# Where each text and number of a request is stored. A reason instead of a column: it is not stored.
STORED_IN = {
    "Adjustment.quantity": ("inventory.StockMovement.quantity", "inventory.Stock.on_hand"),
    "Adjustment.reason": ("inventory.StockMovement.note",),
    "Adjustment.sku": ("inventory.StockMovement.sku", "shop.AuditEntry.object_id"),
    "AddressRequest.*": "JSON",
    "Credentials.email": "compared only",
    "Credentials.password": "hashed",
    "ExpectedTotal.*": "compared only",
    "Item.quantity": ("orders.OrderLine.quantity", "inventory.ReservationLine.quantity"),
    "Item.sku": ("orders.OrderLine.sku", "inventory.ReservationLine.sku", "inventory.Reservation.refused_sku"),
    "ItemQuantity.quantity": ("orders.CartItem.quantity",),
    "MovementRequest.amount": ("payments.Payment.captured",),
    "NewPrice.amount": ("inventory.Variant.price", "inventory.Product.max_price"),
    "NewPrice.currency": "compared only",
    "OrderLookup.*": "compared only",
    "OrderTokenQuery.*": "compared only",
    "PageQuery.*": "a position in a list",
    "PartialAmount.amount": ("payments.Refund.amount", "payments.Payment.refunded"),
    "PartialAmount.currency": ("payments.Payment.currency",),
    "PaymentMethod.provider": ("orders.Order.payment_provider", "payments.Payment.provider"),
    "PaymentMethod.token": ("orders.Order.payment_token", "payments.Payment.token"),
    "PlaceOrder.email": ("orders.Order.email",),
    "PlaceOrder.items": ("orders.OrderLine.position",),
    "ProductPatch.name": ("inventory.Product.name",),
    "ProductPatch.description": ("inventory.Product.description",),
    "ProductPatch.category": ("inventory.Category.slug",),
    "ProductQuery.category": ("inventory.Category.slug",),
    "ProductQuery.min_price": ("inventory.Product.min_price",),
    "ProductQuery.max_price": ("inventory.Product.max_price",),
    "ProductQuery.*": "not stored",
    "ProfileChange.full_name": ("users.User.full_name",),
    "Receipt.quantity": ("inventory.StockMovement.quantity", "inventory.Stock.on_hand"),
    "Receipt.reference": ("inventory.StockMovement.note",),
    "Receipt.sku": ("inventory.StockMovement.sku", "shop.AuditEntry.object_id"),
    "Refresh.refresh": "hashed",
    "RefundRequest.reason": ("payments.Refund.reason",),
    "Registration.email": ("users.User.email",),
    "Registration.full_name": ("users.User.full_name",),
    "Registration.password": "hashed",
    "VariantPatch.name": ("inventory.Variant.name",),
    "VariantPatch.position": ("inventory.Variant.position",),
}
# What is stored although no request body contains it: headers, path parameters, the caller's name, names of products.
OTHER_SIZES = [
    (sizes.IDEMPOTENCY_KEY_LENGTH, "shop.IdempotencyKey.key"),
    (sizes.IDEMPOTENCY_SCOPE_LENGTH, "shop.IdempotencyKey.scope"),
    (sizes.IDEMPOTENCY_SCOPE_LENGTH + 1 + sizes.IDEMPOTENCY_KEY_LENGTH, "payments.Refund.key"),
    (sizes.REQUEST_ID_LENGTH, "shop.OutboxEvent.correlation_id"),
    (sizes.REQUEST_ID_LENGTH, "shop.OutboxEvent.causation_id"),
    (55, "shop.OutboxEvent.traceparent"),  # W3C Trace Context, version 00
    (sizes.ACTOR_LENGTH, "payments.Refund.actor"),
    (sizes.ACTOR_LENGTH, "inventory.StockMovement.actor"),
    (sizes.ACTOR_LENGTH, "shop.AuditEntry.actor"),
    (sizes.SKU_LENGTH, "orders.CartItem.sku"),
    (sizes.OFFER_NAME_LENGTH, "orders.OrderLine.name"),
]
INT_RANGES = {
    models.PositiveSmallIntegerField: (0, sizes.MAX_SMALLINT),
    models.SmallIntegerField: (-sizes.MAX_SMALLINT, sizes.MAX_SMALLINT),
    models.PositiveIntegerField: (0, sizes.MAX_INT),
    models.BigIntegerField: (-sizes.MAX_BIGINT, sizes.MAX_BIGINT),
    models.IntegerField: (-sizes.MAX_INT, sizes.MAX_INT),
}


def request_types() -> set[Any]:
    """Return the types of all bodies and queries."""
    found = set()
    for address, callback in routes(get_resolver("config.urls").url_patterns):
        view = getattr(callback, "cls", None)
        if address.startswith("api/v1/") and view and issubclass(view, View):
            declared = [getattr(view, name).reads for name in METHODS if hasattr(view, name)]
            found |= {type_ for types in declared for type_ in types if type_ is not None}
    return found


def members(type_: inspect.Type, place: str = "") -> Iterator[tuple[str, inspect.Type]]:
    """Yield every text, number and list of a type, named by its struct and member."""
    if isinstance(type_, inspect.Metadata):
        yield from members(type_.type, place)
    elif isinstance(type_, inspect.UnionType):
        for choice in type_.types:
            yield from members(choice, place)
    elif isinstance(type_, inspect.StructType):
        for field in type_.fields:
            yield from members(field.type, f"{type_.cls.__name__}.{field.encode_name}")
    elif isinstance(type_, inspect.ListType):
        yield place, type_
        yield from members(type_.item_type, place)
    elif isinstance(type_, inspect.StrType | inspect.IntType):
        yield place, type_


def column(name: str) -> models.Field:
    label, _, field = name.rpartition(".")
    return apps.get_model(label)._meta.get_field(field)


def fits(type_: inspect.Type, field: models.Field) -> bool:
    """Return whether every value of a type fits a column. A list is stored by position."""
    if isinstance(type_, inspect.StrType):
        return field.max_length is None or (type_.max_length is not None and type_.max_length <= field.max_length)
    least, most = next(limits for kind, limits in INT_RANGES.items() if isinstance(field, kind))
    if isinstance(type_, inspect.ListType):
        return type_.max_length is not None and type_.max_length <= most
    return type_.ge is not None and type_.le is not None and least <= type_.ge and type_.le <= most


def find_misfits(types: set[Any], stored_in: dict[str, Any] = STORED_IN) -> list[str]:
    """Return members that do not fit their column, and members that have no entry."""
    found = []
    for type_ in sorted(types, key=str):
        for place, member in members(inspect.type_info(type_)):
            entry = stored_in.get(place, stored_in.get(f"{place.partition('.')[0]}.*"))
            if entry is None:
                found.append(f"{place} has no entry in STORED_IN")
            elif not isinstance(entry, str):
                found += [f"{place} is larger than {name}" for name in entry if not fits(member, column(name))]
    return found


def test_every_member_of_a_request_fits_its_column():
    assert find_misfits(request_types()) == []


def test_request_types_are_found():
    assert {type_.__name__ for type_ in request_types()} >= {
        "PlaceOrder",
        "Registration",
        "RefundRequest",
        "ProductQuery",
    }


def test_every_text_and_list_of_a_body_has_a_limit():
    """Text without a limit could only be refused by its column."""
    bodies = [type_ for type_ in request_types() if not type_.__name__.endswith("Query")]
    unlimited = [
        place
        for body in bodies
        for place, member in members(inspect.type_info(body))
        if getattr(member, "max_length", 0) is None
    ]
    assert unlimited == []


@pytest.mark.parametrize(("length", "name"), OTHER_SIZES)
def test_what_comes_with_a_request_fits_its_column(length, name):
    assert length <= column(name).max_length


def test_a_sku_in_a_path_is_as_long_as_one_in_a_body():
    assert SkuConverter.regex.endswith(f"{{1,{sizes.SKU_LENGTH}}}")


class Fits(RequestBody):
    """A request whose members fit."""

    name: Annotated[str, msgspec.Meta(max_length=sizes.EMAIL_LENGTH)]
    id: UUID | None = None


class TooLong(RequestBody):
    """A request with a text that is one character too long, a number that is too large, and one without a limit."""

    name: Annotated[str, msgspec.Meta(max_length=sizes.EMAIL_LENGTH + 1)]
    count: Annotated[int, msgspec.Meta(ge=0, le=sizes.MAX_INT + 1)] = 0
    free: int = 0
    unknown: str = ""


@pytest.mark.parametrize(
    ("planted", "expected"),
    [
        (Fits, []),
        (
            TooLong,
            [
                "TooLong.name is larger than orders.Order.email",
                "TooLong.count is larger than orders.CartItem.quantity",
                "TooLong.free is larger than orders.CartItem.quantity",
                "TooLong.unknown has no entry in STORED_IN",
            ],
        ),
    ],
)
def test_a_planted_member_that_does_not_fit_is_found(planted, expected):
    quantity, email = ("orders.CartItem.quantity",), ("orders.Order.email",)
    stored_in = {"Fits.name": email, "TooLong.name": email, "TooLong.count": quantity, "TooLong.free": quantity}
    assert find_misfits({planted}, stored_in) == expected
