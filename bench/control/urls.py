"""The URLs of the control, which are those of Satsuma."""

from django.urls import path

from bench.control import views

urlpatterns = [
    path("api/v1/products", views.ProductList.as_view()),
    path("api/v1/products/<slug:slug>", views.ProductDetail.as_view()),
    path("api/v1/orders", views.OrderList.as_view()),
]
