"""Serve the catalogue, and place an order in one transaction: validate, lock, check, write."""

from collections.abc import Mapping
from typing import TypedDict

from django.db import transaction
from django.db.models import F, QuerySet
from django.utils.crypto import get_random_string
from rest_framework import generics, status
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from bench.control.models import Notification, Order, OrderLine, Payment, Product, Variant
from bench.control.serializers import LineSerializer, OrderSerializer, PlaceOrderSerializer, ProductSerializer


class Item(TypedDict):
    sku: str
    quantity: int


FOR_SALE = Product.objects.filter(is_active=True).select_related("category").prefetch_related("variants")


class NewestFirst(CursorPagination):
    page_size = 20
    ordering = "-id"


class ProductList(generics.ListAPIView):
    serializer_class = ProductSerializer
    pagination_class = NewestFirst

    def get_queryset(self) -> QuerySet[Product]:
        products = FOR_SALE.all()
        category = self.request.query_params.get("category")
        return products.filter(category__slug=category) if category else products


class ProductDetail(generics.RetrieveAPIView):
    serializer_class = ProductSerializer
    queryset = FOR_SALE
    lookup_field = "slug"


class OrderList(APIView):
    def post(self, request: Request) -> Response:
        serializer = PlaceOrderSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        try:
            order, lines = place(**serializer.validated_data)
        except OutOfStock as error:
            return Response({"code": "out_of_stock", "sku": error.sku}, status=status.HTTP_409_CONFLICT)
        body = {**OrderSerializer(order).data, "lines": LineSerializer(lines, many=True).data}
        return Response(body, status=status.HTTP_201_CREATED)


class OutOfStock(Exception):
    """There is not enough stock of a SKU, or it is not sold here."""

    def __init__(self, sku: str) -> None:
        super().__init__(sku)
        self.sku = sku


@transaction.atomic
def place(
    *, email: str, items: list[Item], shipping_address: dict[str, str], payment_method: dict[str, str]
) -> tuple[Order, list[OrderLine]]:
    """Place an order. Raises OutOfStock."""
    quantities = {item["sku"]: item["quantity"] for item in items}
    variants = {variant.sku: variant for variant in _lock_variants(quantities)}
    for sku, quantity in quantities.items():
        if sku not in variants or variants[sku].stock < quantity:
            raise OutOfStock(sku)
    order = Order.objects.create(
        number=get_random_string(10, "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"), email=email, shipping_address=shipping_address,
        total=sum(variants[sku].price * quantity for sku, quantity in quantities.items()),
    )  # fmt: skip
    lines = OrderLine.objects.bulk_create([_build_line(order, variants[sku], n) for sku, n in quantities.items()])
    for sku, quantity in quantities.items():
        Variant.objects.filter(sku=sku).update(stock=F("stock") - quantity)
    Payment.objects.create(order=order, amount=order.total, **payment_method)
    Notification.objects.create(order=order, to=email, template="order_confirmed")
    return order, lines


def _lock_variants(quantities: Mapping[str, int]) -> QuerySet[Variant]:
    """Lock the variants in the order of their SKUs, so that two orders cannot deadlock."""
    rows = Variant.objects.select_related("product").filter(sku__in=quantities, product__is_active=True)
    return rows.select_for_update(of=("self",)).order_by("sku")


def _build_line(order: Order, variant: Variant, quantity: int) -> OrderLine:
    return OrderLine(
        order=order, variant=variant, name=f"{variant.product.name}, {variant.name}", quantity=quantity,
        unit_price=variant.price, total=variant.price * quantity,
    )  # fmt: skip
