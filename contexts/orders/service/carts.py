"""Cart use cases. Prices and availability are quoted for each request.

The id of a guest's cart is its only credential. The cart of a customer is the customer's own: for any other caller it does
not exist. A live order closes its cart: the items are sold, so the cart takes no changes and no second order. A rejected or
cancelled order opens it again.
"""

from collections.abc import Iterable
from typing import Annotated, NamedTuple, TypeGuard
from uuid import UUID

import msgspec
from django.conf import settings
from django.db.models import OuterRef, Q, Subquery

from contexts.inventory.interface import Offer, OutOfStock, inventory
from contexts.orders.models import IS_LIVE, Cart, CartItem, Order
from contexts.orders.service.currency import get_currency, require_currency
from shop.db.database import execute, execute_deferred, transaction
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
    return _to_view(cart, [], {})


def is_unused(cart_id: UUID) -> bool:
    """Return whether nothing was ever put into a cart."""
    return Cart.objects.filter(pk=cart_id, version=0).exists()


def get(cart_id: UUID, user_id: UUID | None = None) -> CartView:
    """Return the cart at present prices. `user_id`: the caller. Raises CartNotFound."""
    cart, live_order_id = _get_cart(cart_id, user_id)
    items = list(cart.items.order_by("id"))
    closed = _find_closed(cart_id, user_id) if live_order_id else None
    return _to_view(cart, items, _fetch_offers(items), closed)


def set_item_quantity(cart_id: UUID, sku: str, quantity: int, user_id: UUID | None = None) -> CartView:
    """Set the quantity of a cart item, and add the item if it is new. `user_id`: the caller.

    Raises CartNotFound, CartClosed, CartFull, UnknownSku, CurrencyMismatch, and OutOfStock for more than can be bought.
    """
    [offer] = inventory.quote(skus=(sku,))
    require_currency(offer, settings.CURRENCY)
    if quantity > offer.available:
        assert_open(cart_id, user_id)  # the units may be reserved for the order of this cart
        raise OutOfStock(sku=sku, available=max(0, offer.available))
    with transaction("orders"):
        _begin_change(cart_id, user_id, offer)
        values = {"quantity": quantity, "seen_price": offer.price.amount}
        _, is_new = CartItem.objects.update_or_create(cart_id=cart_id, sku=sku, defaults=values)
        if is_new and CartItem.objects.filter(cart_id=cart_id).count() > settings.MAX_CART_ITEMS:
            raise CartFull
    return get(cart_id, user_id)


def remove_item(cart_id: UUID, sku: str, user_id: UUID | None = None) -> CartView:
    """Remove a SKU from the cart. `user_id`: the caller. Raises CartNotFound, CartClosed."""
    with transaction("orders"):
        _begin_change(cart_id, user_id)
        CartItem.objects.filter(cart_id=cart_id, sku=sku).delete()
    return get(cart_id, user_id)


def get_contents(cart_id: UUID, user_id: UUID | None) -> CartContents:
    """Return the version and the items of an open cart. `user_id`: the caller. Raises CartNotFound, CartClosed."""
    cart, live_order_id = _get_cart(cart_id, user_id)
    if live_order_id:
        assert_open(cart_id, user_id)
    rows = cart.items.order_by("id").values_list("sku", "quantity")
    items = [Item(sku=sku, quantity=quantity) for sku, quantity in rows]
    return CartContents(cart.version, items, get_currency(cart))


def assert_open(cart_id: UUID, user_id: UUID | None) -> None:
    """Raise CartNotFound or CartClosed unless the caller may use the cart, and it has no live order."""
    if not Cart.objects.filter(_is_open_to(user_id), pk=cart_id).exists():
        raise CartNotFound
    if closed := _find_closed(cart_id, user_id):
        raise closed


def _is_open_to(user_id: UUID | None) -> Q:
    """Return the condition on a cart that a caller may use: a guest's cart by its id, a customer's is the customer's own."""
    return Q(user_id=None) if user_id is None else Q(user_id=None) | Q(user_id=user_id)


def _find_closed(cart_id: UUID, user_id: UUID | None) -> CartClosed | None:
    """Find the live order of a cart, as the error that names it. Only its customer is given its number."""
    order = Order.objects.filter(IS_LIVE, cart_id=cart_id).only("id", "number", "user_id").first()
    if order is None:
        return None
    is_customer = user_id is not None and order.user_id == user_id
    return CartClosed(order_id=order.id, order_number=order.number if is_customer else None)


_LIVE_ORDER_ID = Subquery(Order.objects.filter(IS_LIVE, cart_id=OuterRef("pk")).values("id")[:1])


def _get_cart(cart_id: UUID, user_id: UUID | None) -> tuple[Cart, UUID | None]:
    """Return a cart and the id of its live order, both from one snapshot. Raises CartNotFound."""
    cart = Cart.objects.filter(_is_open_to(user_id), pk=cart_id).annotate(live_order_id=_LIVE_ORDER_ID).first()
    if cart is None:
        raise CartNotFound
    return cart, cart.live_order_id


# An order is placed while the row of its cart is locked. The condition is checked by a statement of its own, begun after
# the lock is held: the snapshot of a statement that had to wait for the lock would not contain that order.
_LOCK_SQL = "SELECT FROM orders_cart WHERE id = %s FOR UPDATE"
_INCREMENT_SQL = """
UPDATE orders_cart SET version = version + 1, changed_at = now(), currency = coalesce(%(currency)s, currency)
WHERE id = %(cart_id)s AND (user_id IS NULL OR user_id = %(user_id)s)
  AND (%(currency)s::text IS NULL OR currency IN ('', %(currency)s)) AND NOT EXISTS (
    SELECT FROM orders_order WHERE cart_id = orders_cart.id AND status NOT IN ('rejected', 'cancelled'))"""


def _begin_change(cart_id: UUID, user_id: UUID | None, offer: Offer | None = None) -> None:
    """Lock an open cart, which serializes its changes, and increment its version.

    offer: of the item that is put into the cart. Raises CartNotFound, CartClosed, and CurrencyMismatch for the offer.
    """
    execute_deferred("orders", _LOCK_SQL, [cart_id])
    parameters = {"cart_id": cart_id, "user_id": user_id, "currency": offer.price.currency if offer else None}
    while not execute("orders", _INCREMENT_SQL, parameters):
        assert_open(cart_id, user_id)  # does not raise if the order has ended since
        if offer:
            require_currency(offer, get_currency(Cart.objects.get(pk=cart_id)))


def _fetch_offers(items: Iterable[CartItem]) -> dict[str, Offer]:
    """Fetch the offers by SKU, with one call, also of SKUs that are no longer for sale."""
    skus = tuple(item.sku for item in items)
    return {offer.sku: offer for offer in inventory.offers(skus=skus)} if skus else {}


def _to_view(cart: Cart, items: list[CartItem], offers: dict[str, Offer], closed: CartClosed | None = None) -> CartView:
    currency = get_currency(cart)
    lines = [_to_line(item, offers.get(item.sku), currency) for item in items]
    changes = [change for item in items if (change := _find_price_change(item, offers.get(item.sku), currency))]
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


def _find_price_change(item: CartItem, offer: Offer | None, currency: str) -> PriceChange | None:
    if not _is_usable(offer, currency) or item.seen_price in (None, offer.price.amount):
        return None
    previous_price = Money(item.seen_price, currency)
    return PriceChange(sku=item.sku, name=offer.name, previous_price=previous_price, unit_price=offer.price)


def _to_line(item: CartItem, offer: Offer | None, currency: str) -> CartLine:
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
