"""URLs of orders."""

from django.urls import path

from contexts.orders.rest import carts, orders
from shop.http import converters  # noqa: F401 registers <sku:…>

urlpatterns = [
    path("carts", carts.CartList.as_view()),
    path("carts/<uuid:cart_id>", carts.CartDetail.as_view()),
    path("carts/<uuid:cart_id>/items/<sku:sku>", carts.CartItemDetail.as_view()),
    path("orders", orders.OrderList.as_view()),
    path("orders/lookup", orders.Lookup.as_view()),
    path("orders/<uuid:order_id>", orders.OrderDetail.as_view()),
    path("orders/<uuid:order_id>/timeline", orders.Timeline.as_view()),
    path("orders/<uuid:order_id>/payment", orders.Pay.as_view()),
    path("orders/<uuid:order_id>/cancel", orders.Cancel.as_view()),
]
