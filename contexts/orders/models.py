"""Tables of orders."""

import uuid

from django.db import models
from django.db.models import F, Q

from shop import clock
from shop.ids import readable_number, uuid7
from shop.leases import Leased


class Cart(models.Model):
    """What somebody thinks of buying. Its id is its only key, so it is random throughout."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user_id = models.UUIDField(null=True, blank=True)
    version = models.IntegerField(default=0, db_default=0, help_text="Raised by each change; an order names the one it saw.")
    created_at = models.DateTimeField(default=clock.now)

    def __str__(self) -> str:
        return str(self.id)


class CartItem(models.Model):
    """So many units of one SKU in a cart."""

    cart = models.ForeignKey(Cart, on_delete=models.CASCADE, related_name="items")
    sku = models.CharField(max_length=64)
    quantity = models.IntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["cart", "sku"], name="one_item_per_sku_in_a_cart"),
            models.CheckConstraint(condition=Q(quantity__gte=1), name="cart_quantity_positive"),
        ]

    def __str__(self) -> str:
        return f"{self.quantity} × {self.sku}"


class Order(Leased):
    """An order, and in the same row how far its checkout is, so that one UPDATE under one fence changes both."""

    class Status(models.TextChoices):
        PENDING = "pending"
        CONFIRMED = "confirmed"
        ON_HOLD = "on_hold"
        SHIPPED = "shipped"
        DELIVERED = "delivered"
        CANCELLED = "cancelled"
        REJECTED = "rejected"

    class Step(models.TextChoices):
        RESERVING = "reserving"
        AUTHORIZING = "authorizing"
        CONFIRMING = "confirming"
        CAPTURING = "capturing"
        DONE = "done"
        UNDO_MONEY = "undo_money"
        UNDO_STOCK = "undo_stock"
        CLOSED = "closed"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    number = models.CharField(max_length=12, unique=True, default=readable_number)
    user_id = models.UUIDField(null=True, blank=True)
    email = models.EmailField()
    cart_id = models.UUIDField(null=True, blank=True)
    status = models.CharField(max_length=10, choices=Status, default=Status.PENDING)
    step = models.CharField(max_length=12, choices=Step, default=Step.RESERVING)
    sequence = models.BigIntegerField(default=1)

    currency = models.CharField(max_length=3)
    items_total = models.BigIntegerField()
    discount_total = models.BigIntegerField(default=0)
    shipping_total = models.BigIntegerField(default=0)
    tax_total = models.BigIntegerField(default=0)
    total = models.BigIntegerField()
    shipping_address = models.JSONField()
    billing_address = models.JSONField(null=True, blank=True)

    payment_provider = models.CharField(max_length=30)
    payment_token = models.CharField(max_length=255, blank=True, help_text="Forgotten once the money is authorized.")
    payment_id = models.UUIDField(null=True, blank=True)
    payment_status = models.CharField(max_length=20, blank=True)
    payment_action = models.JSONField(null=True, blank=True)

    refusal = models.JSONField(null=True, blank=True, help_text="Why it was rejected: the error's code and facts.")
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(help_text="When a checkout that waits is given up.")
    tries = models.IntegerField(default=0, help_text="Of the present step, in a row, without an answer.")
    timeline = models.JSONField(default=list)
    created_at = models.DateTimeField(default=clock.now)

    class Meta:
        ordering = [F("created_at").desc()]
        indexes = [
            models.Index(fields=["due_at"], condition=Q(due_at__isnull=False), name="order_due"),
            models.Index(fields=["user_id", "-created_at"], name="orders_of_a_user"),
            models.Index(fields=["-created_at"], name="order_latest"),
            models.Index(fields=["email"], name="orders_of_an_email"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["cart_id"],
                condition=~Q(status__in=["rejected", "cancelled"]),
                name="one_live_order_per_cart",
            ),
            models.CheckConstraint(
                condition=Q(total=F("items_total") - F("discount_total") + F("shipping_total") + F("tax_total")),
                name="order_total_adds_up",
            ),
        ]

    taken_at = None  # by the database's clock, when the lease is taken of an order that was there before

    def __str__(self) -> str:
        return self.number

    @property
    def is_expired(self) -> bool:
        """Whether the time to pay was over when its lease was taken."""
        return self.taken_at is not None and self.expires_at <= self.taken_at

    @property
    def is_final(self) -> bool:
        """Whether its checkout came to an end. A done one is re-opened by a cancel only."""
        return self.step in (self.Step.DONE, self.Step.CLOSED)


class OrderLine(models.Model):
    """One line, at the price that was frozen with the order."""

    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="lines")
    position = models.SmallIntegerField()
    sku = models.CharField(max_length=64)
    name = models.CharField(max_length=300)
    quantity = models.IntegerField()
    unit_price = models.BigIntegerField()
    total = models.BigIntegerField()

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["order", "position"], name="one_line_per_position"),
            models.CheckConstraint(condition=Q(quantity__gte=1, unit_price__gte=0), name="order_line_sane"),
            models.CheckConstraint(condition=Q(total=F("quantity") * F("unit_price")), name="order_line_adds_up"),
        ]

    def __str__(self) -> str:
        return f"{self.quantity} × {self.sku}"
