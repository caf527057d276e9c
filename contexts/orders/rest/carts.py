"""REST endpoints for carts. The id of a cart is its only credential."""

from uuid import UUID

from rest_framework.request import Request

from contexts.inventory.interface import OutOfStock, UnknownSku
from contexts.orders.service import carts
from contexts.orders.service.carts import CartClosed, CartFull, CartNotFound, CartView, Quantity
from contexts.orders.service.currency import CurrencyMismatch
from shop.http.reading import RequestBody
from shop.http.rest import ANYONE, View, endpoint


class ItemQuantity(RequestBody):
    """A quantity."""

    quantity: Quantity


class CartsView(View):
    """The base of all cart endpoints."""

    context = "orders"


class CartList(CartsView):
    @endpoint(access=ANYONE, responses={201: CartView}, limits=("carts",))
    def post(self, request: Request) -> CartView:
        """Create a cart."""
        return carts.create(request.user.id)


class CartDetail(CartsView):
    @endpoint(access=ANYONE, responses={200: CartView}, errors=(CartNotFound,))
    def get(self, request: Request, cart_id: UUID) -> CartView:
        """Show a cart at present prices.

        `changed` lists items whose price changed since their quantity was set. A cart that was ordered is `closed` and
        names its order.
        """
        return carts.get(cart_id, request.user.id)


class CartItemDetail(CartsView):
    @endpoint(
        access=ANYONE,
        body=ItemQuantity,
        responses={200: CartView},
        errors=(CartNotFound, CartClosed, CartFull, CurrencyMismatch, UnknownSku, OutOfStock),
    )
    def put(self, request: Request, cart_id: UUID, sku: str, body: ItemQuantity) -> CartView:
        """Set the quantity of a cart item.

        409: more than can be bought (`available` is the number of units), or the cart was ordered (`order_id` names
        the order).
        """
        return carts.set_item_quantity(cart_id, sku, body.quantity, request.user.id)

    @endpoint(access=ANYONE, responses={200: CartView}, errors=(CartNotFound, CartClosed))
    def delete(self, request: Request, cart_id: UUID, sku: str) -> CartView:
        """Remove a SKU from the cart. 409: the cart was ordered (`order_id` names the order)."""
        return carts.remove_item(cart_id, sku, request.user.id)
