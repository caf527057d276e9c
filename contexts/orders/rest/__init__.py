"""URLs of orders."""

from django.urls import path, register_converter

from contexts.orders.rest import carts, orders
from shop import sizes


class SkuConverter:
    """Match a SKU in a URL path."""

    regex = rf"[A-Za-z0-9._-]{{1,{sizes.SKU_LENGTH}}}"

    def to_python(self, value: str) -> str:
        return value

    to_url = to_python


register_converter(SkuConverter, "sku")

urlpatterns = [
    path("carts", carts.CartList.as_view()),
    path("carts/<uuid:cart_id>", carts.CartDetail.as_view()),
    path("carts/<uuid:cart_id>/items/<sku:sku>", carts.CartItemDetail.as_view()),
    path("orders", orders.OrderList.as_view()),
    path("orders/lookup", orders.Lookup.as_view()),
    path("orders/<uuid:order_id>", orders.OrderDetail.as_view()),
    path("orders/<uuid:order_id>/timeline", orders.Timeline.as_view()),
    path("orders/<uuid:order_id>/cancel", orders.Cancel.as_view()),
]
