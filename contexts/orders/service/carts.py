"""Cart use cases. Prices and availability are quoted for each request, never stored."""

from typing import NamedTuple
from uuid import UUID

import msgspec
from django.conf import settings
from django.db.models import F

from contexts.inventory.interface import Offer, UnknownSku, inventory
from contexts.orders.models import Cart, CartItem
from shop.db.database import transaction
from shop.errors import Conflict, NotFound
from shop.http.reading import RequestBody
from shop.http.rest import Quantity, Sku
from shop.money import Money, sum_amounts

MAX_ITEMS = 200  # different SKUs in one cart


class CartNotFound(NotFound):
    """There is no such cart."""


class CartFull(Conflict):
    """A cart holds up to {most} different SKUs."""

    most: int = MAX_ITEMS


class Item(RequestBody, kw_only=True):
    """A SKU and a quantity."""

    sku: Sku
    quantity: Quantity


class CartContents(NamedTuple):
    """The items of a cart at one version: what an order is made from."""

    version: int
    items: list[Item]


class Totals(msgspec.Struct, kw_only=True):
    """The total and its parts."""

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
    """A cart at present prices. SKUs that are no longer for sale are omitted."""

    id: UUID
    version: int
    items: list[CartLine]
    totals: Totals


def create(user_id: UUID | None) -> CartView:
    """Create an empty cart."""
    with transaction("orders"):
        cart = Cart.objects.create(user_id=user_id)
    return _to_view(cart, [], {})


def get(cart_id: UUID) -> CartView:
    """Return the cart at present prices. Raises CartNotFound."""
    cart = _get_cart(cart_id)
    items = list(cart.items.order_by("id"))
    return _to_view(cart, items, _fetch_offers(tuple(item.sku for item in items)))


def set_item_quantity(cart_id: UUID, sku: str, quantity: int) -> CartView:
    """Set the quantity of a cart item, and add the item if it is new. Raises CartNotFound, CartFull, UnknownSku."""
    inventory.quote(skus=(sku,))
    with transaction("orders"):
        _increment_version(cart_id)
        _, is_new = CartItem.objects.update_or_create(cart_id=cart_id, sku=sku, defaults={"quantity": quantity})
        if is_new and CartItem.objects.filter(cart_id=cart_id).count() > MAX_ITEMS:
            raise CartFull
    return get(cart_id)


def remove_item(cart_id: UUID, sku: str) -> CartView:
    """Remove a SKU from the cart. Raises CartNotFound."""
    with transaction("orders"):
        _increment_version(cart_id)
        CartItem.objects.filter(cart_id=cart_id, sku=sku).delete()
    return get(cart_id)


def get_contents(cart_id: UUID) -> CartContents:
    """Return the version and the items of a cart. Raises CartNotFound."""
    cart = _get_cart(cart_id)
    rows = cart.items.order_by("id").values_list("sku", "quantity")
    return CartContents(cart.version, [Item(sku=sku, quantity=quantity) for sku, quantity in rows])


def _get_cart(cart_id: UUID) -> Cart:
    cart = Cart.objects.filter(pk=cart_id).first()
    if cart is None:
        raise CartNotFound
    return cart


def _increment_version(cart_id: UUID) -> None:
    """Increment the version. Its row lock serializes changes of one cart."""
    if not Cart.objects.filter(pk=cart_id).update(version=F("version") + 1):
        raise CartNotFound


def _fetch_offers(skus: tuple[str, ...]) -> dict[str, Offer]:
    """Fetch the offers, by SKU, without SKUs that are no longer for sale."""
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
        totals=compute_totals(sum_amounts((line.total for line in lines), settings.CURRENCY)),
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


def compute_totals(items: Money) -> Totals:
    """Compute the totals of a cart or an order from the sum of its items. There are no discounts, shipping or tax yet."""
    zero = Money(0, items.currency)
    return Totals(items=items, discount=zero, shipping=zero, tax=zero, total=items)
