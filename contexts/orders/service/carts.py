"""Cart use cases. Prices and availability are quoted for each request.

The id of a guest's cart is its only credential. The cart of a customer is the customer's own: for any other caller it does
not exist. A live order closes its cart: the items are sold, so the cart takes no changes and no second order. A rejected or
cancelled order opens it again.
"""

from typing import Annotated, NamedTuple, TypeGuard
from uuid import UUID

import msgspec
from django.conf import settings

from contexts.inventory.interface import Offer, OutOfStock, UnknownSku, inventory
from contexts.orders.models import Cart
from contexts.orders.service import cart_rows
from contexts.orders.service.cart_rows import CartRow, ItemRow
from contexts.orders.service.currency import get_currency, require_currency
from shop.db.database import transaction
from shop.errors import Conflict, NotFound
from shop.http.reading import RequestBody
from shop.http.rest import Sku
from shop.money import Money, sum_amounts

Quantity = Annotated[int, msgspec.Meta(ge=1, le=settings.MAX_ITEM_QUANTITY, description="Units of one SKU.")]


class CartNotFound(NotFound):
    """There is no such cart."""


class CartFull(Conflict):
    """A cart holds up to {most} different SKUs."""

    most: int = settings.MAX_CART_ITEMS


class CartClosed(Conflict):
    """This cart was ordered and takes no changes: see order {order_id}. Create a new cart to buy more."""

    order_id: UUID
    order_number: str | None = None  # only for the customer of the order


class Item(RequestBody, kw_only=True):
    """A SKU and a quantity."""

    sku: Sku
    quantity: Quantity


class CartContents(NamedTuple):
    """The items of a cart at one version: what an order is made from."""

    version: int
    items: list[Item]
    currency: str


class Totals(msgspec.Struct, kw_only=True):
    """The total and its parts."""

    items: Money
    discount: Money
    shipping: Money
    tax: Money
    total: Money


class CartLine(msgspec.Struct, kw_only=True):
    """One SKU of a cart at its present price.

    `unavailable`: it is no longer for sale. Its total is 0, and the cart cannot be ordered until it is removed.
    """

    sku: str
    name: str
    quantity: int
    available: int
    unavailable: bool
    unit_price: Money
    total: Money


class PriceChange(msgspec.Struct, kw_only=True):
    """An item whose price changed after the customer set its quantity. Setting it again accepts the new price."""

    sku: str
    name: str
    previous_price: Money
    unit_price: Money


class CartView(msgspec.Struct, kw_only=True):
    """A cart at present prices.

    An item that is priced in another currency is unavailable. `changed` lists the items whose price changed.
    `closed`: the cart was ordered, `order_id` names the order; `order_number` is given to the customer of that order.
    """

    id: UUID
    version: int
    currency: str
    items: list[CartLine]
    totals: Totals
    changed: list[PriceChange]
    closed: bool
    order_id: UUID | None
    order_number: str | None


def create(user_id: UUID | None) -> CartView:
    """Create an empty cart in CURRENCY."""
    with transaction("orders"):
        cart = Cart.objects.create(user_id=user_id, currency=settings.CURRENCY)
    return _to_view(CartRow(cart.id, cart.version, cart.currency), {}, user_id)


def is_unused(cart_id: UUID) -> bool:
    """Return whether nothing was ever put into a cart."""
    return Cart.objects.filter(pk=cart_id, version=0).exists()


def get(cart_id: UUID, user_id: UUID | None = None) -> CartView:
    """Return the cart at present prices. `user_id`: the caller. Raises CartNotFound."""
    cart = cart_rows.read(cart_id, user_id)
    if cart is None:
        raise CartNotFound
    return _to_view(cart, _fetch_offers(cart), user_id)


def set_item_quantity(cart_id: UUID, sku: str, quantity: int, user_id: UUID | None = None) -> CartView:
    """Set the quantity of a cart item, and add the item if it is new. `user_id`: the caller.

    Raises CartNotFound, CartClosed, CartFull, UnknownSku, CurrencyMismatch, and OutOfStock for more than can be bought.
    """
    while True:
        cart = cart_rows.read(cart_id, user_id)
        offers = _fetch_offers(cart, sku)
        offer = _require_offer(offers, sku)
        cart = _require_open(cart, user_id)  # first: the units may be reserved for the order of this cart
        if quantity > offer.available:
            raise OutOfStock(sku=sku, available=max(0, offer.available))
        require_currency(offer, get_currency(cart.currency))
        _require_room(cart, sku)
        item = ItemRow(sku, quantity, seen_price=offer.price.amount)
        if changed := cart_rows.set_item(cart, item, offer.price.currency):
            return _to_view(changed, offers, user_id)


def remove_item(cart_id: UUID, sku: str, user_id: UUID | None = None) -> CartView:
    """Remove a SKU from the cart. `user_id`: the caller. Raises CartNotFound, CartClosed."""
    while True:
        cart = _require_open(cart_rows.read(cart_id, user_id), user_id)
        if changed := cart_rows.delete_item(cart, sku):
            return _to_view(changed, _fetch_offers(changed), user_id)


def get_contents(cart_id: UUID, user_id: UUID | None) -> CartContents:
    """Return the version and the items of an open cart. `user_id`: the caller. Raises CartNotFound, CartClosed."""
    cart = _require_open(cart_rows.read(cart_id, user_id), user_id)
    items = [Item(sku=item.sku, quantity=item.quantity) for item in cart.items]
    return CartContents(cart.version, items, get_currency(cart.currency))


def assert_open(cart_id: UUID, user_id: UUID | None) -> None:
    """Raise CartNotFound or CartClosed unless the caller may use the cart, and it has no live order."""
    _require_open(cart_rows.read(cart_id, user_id), user_id)


def _require_open(cart: CartRow | None, user_id: UUID | None) -> CartRow:
    """Return a cart that was found and has no live order. Raises CartNotFound, CartClosed."""
    if cart is None:
        raise CartNotFound
    if closed := _find_closed(cart, user_id):
        raise closed
    return cart


def _find_closed(cart: CartRow, user_id: UUID | None) -> CartClosed | None:
    """Find the live order of a cart, as the error that names it. Only its customer is given its number."""
    order = cart.live_order
    if order is None:
        return None
    is_customer = user_id is not None and order.user_id == user_id
    return CartClosed(order_id=order.id, order_number=order.number if is_customer else None)


def _require_offer(offers: dict[str, Offer], sku: str) -> Offer:
    """Return the offer of a SKU. Raises UnknownSku if it is not for sale, CurrencyMismatch if it is not in CURRENCY."""
    offer = offers.get(sku)
    if offer is None or not offer.for_sale:
        raise UnknownSku(sku=sku, skus=(sku,))
    require_currency(offer, settings.CURRENCY)
    return offer


def _require_room(cart: CartRow, sku: str) -> None:
    """Raise CartFull if a SKU that is not in the cart is one too many."""
    if len(cart.items) >= settings.MAX_CART_ITEMS and sku not in [item.sku for item in cart.items]:
        raise CartFull


def _fetch_offers(cart: CartRow | None, *skus: str) -> dict[str, Offer]:
    """Fetch the offers of a cart and of more SKUs, with one call, also of SKUs that are no longer for sale."""
    wanted = tuple(dict.fromkeys((*skus, *(item.sku for item in (cart.items if cart else ())))))
    return {offer.sku: offer for offer in inventory.offers(skus=wanted)} if wanted else {}


def _to_view(cart: CartRow, offers: dict[str, Offer], user_id: UUID | None) -> CartView:
    currency, closed = get_currency(cart.currency), _find_closed(cart, user_id)
    lines = [_to_line(item, offers.get(item.sku), currency) for item in cart.items]
    changes = [change for item in cart.items if (change := _find_price_change(item, offers.get(item.sku), currency))]
    return CartView(
        id=cart.id,
        version=cart.version,
        currency=currency,
        items=lines,
        totals=compute_totals(sum_amounts((line.total for line in lines), currency)),
        changed=[] if closed else changes,
        closed=closed is not None,
        order_id=closed.order_id if closed else None,
        order_number=closed.order_number if closed else None,
    )


def _is_usable(offer: Offer | None, currency: str) -> TypeGuard[Offer]:
    return offer is not None and offer.for_sale and offer.price.currency == currency


def _find_price_change(item: ItemRow, offer: Offer | None, currency: str) -> PriceChange | None:
    if not _is_usable(offer, currency) or item.seen_price in (None, offer.price.amount):
        return None
    previous_price = Money(item.seen_price, currency)
    return PriceChange(sku=item.sku, name=offer.name, previous_price=previous_price, unit_price=offer.price)


def _to_line(item: ItemRow, offer: Offer | None, currency: str) -> CartLine:
    zero = Money(0, currency)
    is_usable = _is_usable(offer, currency)
    return CartLine(
        sku=item.sku,
        name=offer.name if offer else item.sku,
        quantity=item.quantity,
        available=offer.available if offer else 0,
        unavailable=not is_usable,
        unit_price=offer.price if offer else zero,
        total=offer.price * item.quantity if offer and is_usable else zero,
    )


def compute_totals(items: Money) -> Totals:
    """Compute the totals of a cart or an order from the sum of its items. There are no discounts, shipping or tax yet."""
    zero = Money(0, items.currency)
    return Totals(items=items, discount=zero, shipping=zero, tax=zero, total=items)
