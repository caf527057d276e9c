"""HTTP of carts: whoever knows a cart's id may fill it."""

from uuid import UUID

import msgspec
from rest_framework.request import Request

from contexts.orders.service import carts
from contexts.orders.service.carts import CartView
from shop.rest import ANYONE, Quantity, View, endpoint


class ItemQuantity(msgspec.Struct):
    """How many."""

    quantity: Quantity


class CartsView(View):
    """What every view of carts stands on."""

    context = "orders"


class CartList(CartsView):
    @endpoint(who=ANYONE, answers={201: CartView})
    def post(self, request: Request) -> CartView:
        """Open a cart."""
        return carts.create(request.user.id)


class CartDetail(CartsView):
    @endpoint(who=ANYONE, answers={200: CartView})
    def get(self, request: Request, cart_id: UUID) -> CartView:
        """Show a cart at present prices."""
        return carts.show(cart_id)


class CartItemDetail(CartsView):
    @endpoint(who=ANYONE, body=ItemQuantity, answers={200: CartView})
    def put(self, request: Request, cart_id: UUID, sku: str, body: ItemQuantity) -> CartView:
        """Have so many of a SKU in the cart."""
        return carts.put_item(cart_id, sku, body.quantity)

    @endpoint(who=ANYONE, answers={200: CartView})
    def delete(self, request: Request, cart_id: UUID, sku: str) -> CartView:
        """Take a SKU out of the cart."""
        return carts.remove_item(cart_id, sku)
