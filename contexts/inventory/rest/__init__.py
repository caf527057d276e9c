"""URLs of inventory."""

from django.urls import path

from contexts.inventory.rest import catalogue, editing, stock
from shop.http import converters  # noqa: F401 registers <sku:…>

urlpatterns = [
    path("categories", catalogue.CategoryList.as_view()),
    path("products", catalogue.ProductList.as_view()),
    path("products/<slug:slug>", catalogue.ProductDetail.as_view()),
    path("staff/products/<slug:slug>", editing.StaffProduct.as_view()),
    path("staff/variants/<sku:sku>", editing.StaffVariant.as_view()),
    path("staff/stock/receipts", stock.Receipts.as_view()),
    path("staff/stock/adjustments", stock.Adjustments.as_view()),
]
