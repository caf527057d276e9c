"""The rows of a cart: one statement reads them with the cart's live order, and one changes them if nothing has changed since.

Every change increments the version of its cart, and so does the order that closes it. A change is made to the version that
was read: of changes at the same time the database makes one, and the others read the cart again.
"""

from typing import NamedTuple
from uuid import UUID

from shop.db.database import PreparedStatement, execute, execute_or_abort, fetch_rows


class ItemRow(NamedTuple):
    """A SKU in a cart. seen_price: in minor units, when the customer set the quantity; None for an item of an older release."""

    sku: str
    quantity: int
    seen_price: int | None


class LiveOrder(NamedTuple):
    """The order that closes a cart."""

    id: UUID
    number: str
    user_id: UUID | None


class CartRow(NamedTuple):
    """A cart at one version, its items in the order in which they were added, and its live order."""

    id: UUID
    version: int
    currency: str  # empty for a cart of an older release
    items: tuple[ItemRow, ...] = ()
    live_order: LiveOrder | None = None


class _Row(NamedTuple):
    """A cart with its live order and one of its items, as the statement returns it."""

    version: int
    currency: str
    order_id: UUID | None
    order_number: str
    order_user_id: UUID | None
    sku: str | None  # None: the cart is empty
    quantity: int
    seen_price: int | None


_READ = PreparedStatement("""
SELECT cart.version, cart.currency, live.id, live.number, live.user_id, item.sku, item.quantity, item.seen_price
FROM orders_cart cart
     LEFT JOIN orders_order live ON live.cart_id = cart.id AND live.status NOT IN ('rejected', 'cancelled')
     LEFT JOIN orders_cartitem item ON item.cart_id = cart.id
WHERE cart.id = %(cart_id)s AND (cart.user_id IS NULL OR cart.user_id = %(user_id)s)
ORDER BY item.id""")
_SET_ITEM = PreparedStatement("""
WITH changed AS (
    UPDATE orders_cart SET version = version + 1, changed_at = now(), currency = %(currency)s
    WHERE id = %(cart_id)s AND version = %(version)s RETURNING id)
INSERT INTO orders_cartitem (cart_id, sku, quantity, seen_price)
SELECT id, %(sku)s, %(quantity)s, %(seen_price)s FROM changed
ON CONFLICT (cart_id, sku) DO UPDATE SET quantity = excluded.quantity, seen_price = excluded.seen_price""")
_CLAIM = "UPDATE orders_cart SET version = version + 1 WHERE id = %s AND version = %s"
_DELETE_ITEM = PreparedStatement("""
WITH changed AS (
    UPDATE orders_cart SET version = version + 1, changed_at = now()
    WHERE id = %(cart_id)s AND version = %(version)s RETURNING id),
deleted AS (DELETE FROM orders_cartitem USING changed WHERE cart_id = changed.id AND sku = %(sku)s)
SELECT FROM changed""")


def read(cart_id: UUID, user_id: UUID | None) -> CartRow | None:
    """Read a cart that the caller may use: a guest's by its id, a customer's only as that customer. None if there is none."""
    rows = [_Row(*row) for row in fetch_rows("orders", _READ, {"cart_id": cart_id, "user_id": user_id})]
    if not rows:
        return None
    first = rows[0]
    live = LiveOrder(first.order_id, first.order_number, first.order_user_id) if first.order_id else None
    items = tuple(ItemRow(row.sku, row.quantity, row.seen_price) for row in rows if row.sku is not None)
    return CartRow(cart_id, first.version, first.currency, items, live)


def set_item(cart: CartRow, item: ItemRow, currency: str) -> CartRow | None:
    """Add an item, or set that of the same SKU, and return the changed cart. None if it was changed since it was read."""
    parameters = {"cart_id": cart.id, "version": cart.version, "currency": currency, **item._asdict()}
    if not execute("orders", _SET_ITEM, parameters):
        return None
    items = {one.sku: one for one in cart.items} | {item.sku: item}
    return cart._replace(version=cart.version + 1, currency=currency, items=tuple(items.values()))


def claim_or_abort(cart_id: UUID, version: int) -> None:
    """Increment the version of a cart that is being ordered, in the transaction of its order.

    The transaction is aborted if the cart was changed since this version: NoRowChanged is raised when it is sent.
    """
    execute_or_abort("orders", "cart", _CLAIM, [cart_id, version])


def delete_item(cart: CartRow, sku: str) -> CartRow | None:
    """Delete the item of a SKU, if there is one, and return the changed cart. None if it was changed since it was read."""
    if not execute("orders", _DELETE_ITEM, {"cart_id": cart.id, "version": cart.version, "sku": sku}):
        return None
    items = tuple(item for item in cart.items if item.sku != sku)
    return cart._replace(version=cart.version + 1, items=items)
