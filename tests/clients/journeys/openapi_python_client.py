"""The journey of a customer and of a guest, with the client of openapi-python-client: `SITE_URL=… python …`."""

import os
import uuid

from shop_client import AuthenticatedClient, Client
from shop_client.api.auth import register_post, token_post
from shop_client.api.carts import cart_item_detail_put, cart_list_post
from shop_client.api.orders import cancel_post, order_detail_get, order_list_get, order_list_post
from shop_client.api.products import product_list_get
from shop_client.models import (
    AddressRequest,
    CartItemDetailPutResponse409,
    CartItemDetailPutResponse409Code,
    CartView,
    Credentials,
    Item,
    ItemQuantity,
    OrderView,
    OrderViewStatus,
    PageOrderView,
    PageProductView,
    PaymentMethod,
    PlaceOrder,
    Profile,
    Registration,
    Tokens,
)

SITE = os.environ["SITE_URL"]
PASSWORD = "correct horse battery"
ADDRESS = AddressRequest(name="Ada Buyer", line1="1 Main Street", city="Berlin", postal_code="10115", country="DE")
PAYMENT = PaymentMethod(provider="sandbox", token="tok_ok")
TOO_MANY = 10_000


def new_email() -> str:
    return f"{uuid.uuid4()}@example.com"


def sign_in(guest: Client) -> AuthenticatedClient:
    email = new_email()
    account = Registration(email=email, password=PASSWORD, full_name="Ada Buyer")
    assert isinstance(register_post.sync(client=guest, body=account), Profile)
    tokens = token_post.sync(client=guest, body=Credentials(email=email, password=PASSWORD))
    assert isinstance(tokens, Tokens), tokens
    return AuthenticatedClient(base_url=SITE, token=tokens.access)


def find_sku(guest: Client) -> str:
    products = product_list_get.sync(client=guest, in_stock=True, page_size=5)
    assert isinstance(products, PageProductView), products
    return next(variant.sku for product in products.results for variant in product.variants if variant.available > 2)


def fill_cart(customer: AuthenticatedClient, sku: str) -> CartView:
    cart = cart_list_post.sync(client=customer)
    assert isinstance(cart, CartView), cart
    refused = cart_item_detail_put.sync(cart.id, sku, client=customer, body=ItemQuantity(quantity=TOO_MANY))
    assert isinstance(refused, CartItemDetailPutResponse409), refused
    assert refused.code is CartItemDetailPutResponse409Code.INVENTORY_OUT_OF_STOCK
    filled = cart_item_detail_put.sync(cart.id, sku, client=customer, body=ItemQuantity(quantity=1))
    assert isinstance(filled, CartView), filled
    return filled


def order_as_customer(customer: AuthenticatedClient, cart: CartView) -> None:
    wanted = PlaceOrder(cart_id=cart.id, shipping_address=ADDRESS, payment_method=PAYMENT)
    order = order_list_post.sync(client=customer, body=wanted, idempotency_key=str(uuid.uuid4()))
    assert isinstance(order, OrderView), order
    assert order.status is OrderViewStatus.CONFIRMED
    assert order.token is None, "an order of a customer, not of a guest"
    own = order_list_get.sync(client=customer)
    assert isinstance(own, PageOrderView)
    assert [each.id for each in own.results] == [order.id]
    cancelled = cancel_post.sync(order.id, client=customer)
    assert isinstance(cancelled, OrderView)
    assert cancelled.cancel_requested


def order_as_guest(guest: Client, sku: str) -> None:
    items = [Item(sku=sku, quantity=1)]
    wanted = PlaceOrder(items=items, email=new_email(), shipping_address=ADDRESS, payment_method=PAYMENT)
    order = order_list_post.sync(client=guest, body=wanted, idempotency_key=str(uuid.uuid4()))
    assert isinstance(order, OrderView), order
    assert order.token
    shown = order_detail_get.sync(order.id, client=guest, x_order_token=order.token)
    assert isinstance(shown, OrderView)
    assert shown.number == order.number


if __name__ == "__main__":
    shop_guest = Client(base_url=SITE)
    some_sku = find_sku(shop_guest)
    shop_customer = sign_in(shop_guest)
    order_as_customer(shop_customer, fill_cart(shop_customer, some_sku))
    order_as_guest(shop_guest, some_sku)
    print("the journey is complete")
