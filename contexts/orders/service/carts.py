"""Carts: what somebody thinks of buying. Prices and availability are asked for each time, never kept."""

from uuid import UUID

import msgspec
from django.conf import settings
from django.db.models import F

from contexts.inventory.interface import Offer, UnknownSku, inventory
from contexts.orders.models import Cart, CartItem
from shop.database import transaction
from shop.errors import Conflict, NotFound
from shop.money import Money, total

MAX_ITEMS = 200


class CartNotFound(NotFound):
    """There is no such cart."""


class CartFull(Conflict):
    """A cart holds up to {most} different SKUs."""

    most: int = MAX_ITEMS


class Totals(msgspec.Struct, kw_only=True):
    """What it comes to, part by part."""

    items: Money
    discount: Money
    shipping: Money
    tax: Money
    total: Money


class CartLine(msgspec.Struct, kw_only=True):
    """One SKU of a cart at its present price."""

    sku: str
    name: str
    quantity: int
    available: int
    unit_price: Money
    total: Money


class CartView(msgspec.Struct, kw_only=True):
    """A cart as its owner sees it. What is no longer for sale is not in it."""

    id: UUID
    version: int
    items: list[CartLine]
    totals: Totals


def create(user_id: UUID | None) -> CartView:
    """An empty cart."""
    with transaction("orders"):
        cart = Cart.objects.create(user_id=user_id)
    return _to_view(cart, [], {})


def show(cart_id: UUID) -> CartView:
    """The cart at present prices. Raises CartNotFound."""
    cart = _find(cart_id)
    items = list(cart.items.order_by("id"))
    return _to_view(cart, items, _offers(tuple(item.sku for item in items)))


def put_item(cart_id: UUID, sku: str, quantity: int) -> CartView:
    """Have so many of a SKU in the cart. Raises CartNotFound, CartFull; UnknownSku for what is not for sale."""
    inventory.quote(skus=(sku,))
    with transaction("orders"):
        _touch(cart_id)
        _, is_new = CartItem.objects.update_or_create(cart_id=cart_id, sku=sku, defaults={"quantity": quantity})
        if is_new and CartItem.objects.filter(cart_id=cart_id).count() > MAX_ITEMS:
            raise CartFull
    return show(cart_id)


def remove_item(cart_id: UUID, sku: str) -> CartView:
    """Have none of a SKU in the cart. Raises CartNotFound."""
    with transaction("orders"):
        _touch(cart_id)
        CartItem.objects.filter(cart_id=cart_id, sku=sku).delete()
    return show(cart_id)


def contents(cart_id: UUID) -> tuple[int, list[tuple[str, int]]]:
    """The cart's version, and what it holds: what an order is made from. Raises CartNotFound."""
    cart = _find(cart_id)
    return cart.version, list(cart.items.order_by("id").values_list("sku", "quantity"))


def _find(cart_id: UUID) -> Cart:
    cart = Cart.objects.filter(pk=cart_id).first()
    if cart is None:
        raise CartNotFound
    return cart


def _touch(cart_id: UUID) -> None:
    """Raise the version; its row lock puts the changes of one cart in a line."""
    if not Cart.objects.filter(pk=cart_id).update(version=F("version") + 1):
        raise CartNotFound


def _offers(skus: tuple[str, ...]) -> dict[str, Offer]:
    """The offers for what is still for sale."""
    while skus:
        try:
            return {offer.sku: offer for offer in inventory.quote(skus=skus)}
        except UnknownSku as unknown:
            skus = tuple(sku for sku in skus if sku != unknown.sku)
    return {}


def _to_view(cart: Cart, items: list[CartItem], offers: dict[str, Offer]) -> CartView:
    lines = [_to_line(item, offers[item.sku]) for item in items if item.sku in offers]
    return CartView(
        id=cart.id,
        version=cart.version,
        items=lines,
        totals=totals_of(total((line.total for line in lines), settings.CURRENCY)),
    )


def _to_line(item: CartItem, offer: Offer) -> CartLine:
    return CartLine(
        sku=item.sku,
        name=offer.name,
        quantity=item.quantity,
        available=offer.available,
        unit_price=offer.price,
        total=offer.price * item.quantity,
    )


def totals_of(items: Money) -> Totals:
    """What a cart or an order of so much comes to: nothing is added or taken off yet."""
    nothing = Money(0, items.currency)
    return Totals(items=items, discount=nothing, shipping=nothing, tax=nothing, total=items)
