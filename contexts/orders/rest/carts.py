"""REST endpoints for carts. The id of a guest's cart is its only credential; a customer's cart needs the access token, too."""

from uuid import UUID

import msgspec
from django.http import HttpResponse
from rest_framework.request import Request

from contexts.inventory.interface import OutOfStock, UnknownSku
from contexts.orders.service import carts
from contexts.orders.service.carts import CartClosed, CartFull, CartNotFound, CartView, Quantity
from contexts.orders.service.currency import CurrencyMismatch
from shop.http.idempotency import IdempotencyKeyReused, Key, bind_to_client, respond_once
from shop.http.reading import RequestBody
from shop.http.rest import ANYONE, View, endpoint, respond


class ItemQuantity(RequestBody):
    """A quantity."""

    quantity: Quantity


class _CartId(msgspec.Struct):
    """The id in the response of a created cart."""

    id: UUID


class CartsView(View):
    """The base of all cart endpoints."""

    context = "orders"


class CartList(CartsView):
    @endpoint(access=ANYONE, responses={201: CartView}, limits=("carts",), idempotency="handled_by_use_case")
    def post(self, request: Request, key: Key | None) -> HttpResponse:
        """Create a cart.

        A repeat with the same key returns the same cart: to a guest only from the same client address with the same
        User-Agent, and only until something is put into the cart.
        """
        user_id = request.user.id
        if key is None:
            return respond(carts.create(user_id), 201)
        if user_id is None:
            key = bind_to_client(key, request)
        response = respond_once(self.context, key, lambda: respond(carts.create(user_id), 201))
        if user_id is None and not carts.is_unused(msgspec.json.decode(response.content, type=_CartId).id):
            raise IdempotencyKeyReused  # a client that lost the response has not used the cart: this is another guest
        return response


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
