"""The tables of the control. Money is in minor units, as in Satsuma."""

from django.db import models
from django.db.models import Q


class Category(models.Model):
    slug = models.SlugField(max_length=100, unique=True)
    name = models.CharField(max_length=100)

    def __str__(self) -> str:
        return self.name


class Product(models.Model):
    slug = models.SlugField(max_length=100, unique=True)
    name = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    category = models.ForeignKey(Category, on_delete=models.PROTECT, related_name="products")
    is_active = models.BooleanField(default=True)

    class Meta:
        indexes = [models.Index(fields=["category", "-id"], name="control_newest_of_category")]

    def __str__(self) -> str:
        return self.name


class Variant(models.Model):
    sku = models.CharField(max_length=64, unique=True)
    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="variants")
    name = models.CharField(max_length=200)
    price = models.BigIntegerField()
    currency = models.CharField(max_length=3, default="EUR")
    position = models.PositiveIntegerField(default=0)
    stock = models.BigIntegerField(default=0)

    class Meta:
        ordering = ["position"]
        constraints = [models.CheckConstraint(condition=Q(stock__gte=0), name="stock_not_negative")]

    def __str__(self) -> str:
        return self.sku


class Order(models.Model):
    number = models.CharField(max_length=12, unique=True)
    email = models.EmailField()
    status = models.CharField(max_length=10, default="confirmed")
    total = models.BigIntegerField()
    currency = models.CharField(max_length=3, default="EUR")
    shipping_address = models.JSONField()
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.number


class OrderLine(models.Model):
    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="lines")
    variant = models.ForeignKey(Variant, on_delete=models.PROTECT)
    name = models.CharField(max_length=300)
    quantity = models.PositiveIntegerField()
    unit_price = models.BigIntegerField()
    total = models.BigIntegerField()

    def __str__(self) -> str:
        return f"{self.quantity} × {self.name}"


class Payment(models.Model):
    order = models.OneToOneField(Order, on_delete=models.PROTECT, related_name="payment")
    provider = models.CharField(max_length=30)
    token = models.CharField(max_length=255)
    status = models.CharField(max_length=20, default="captured")
    amount = models.BigIntegerField()

    def __str__(self) -> str:
        return f"payment of {self.order_id}"


class Notification(models.Model):
    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="notifications")
    to = models.EmailField()
    template = models.CharField(max_length=30)
    is_sent = models.BooleanField(default=False)

    def __str__(self) -> str:
        return f"{self.template} to {self.to}"
