"""Tables of orders."""

import uuid
from datetime import timedelta

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from contexts.orders.interface import OrderStatus
from shop import clock, sizes
from shop.db.leases import LeasedModel
from shop.db.retention import DeletedAfter, DeletedWith
from shop.ids import readable_number, uuid7
from shop.text import format_count

STATUS_CHOICES = [(status.value, status.name.replace("_", " ").title()) for status in OrderStatus]
IS_LIVE = ~Q(status__in=[OrderStatus.REJECTED, OrderStatus.CANCELLED])  # an order that closes its cart


class Cart(models.Model):
    """Items that a customer may buy. The id of a guest's cart is its only credential, and is therefore random."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user_id = models.UUIDField(null=True, blank=True)
    version = models.IntegerField(
        default=0, db_default=0, help_text="Incremented by each change; an order is placed from one version."
    )
    currency = models.CharField(
        max_length=3,
        blank=True,
        db_default="",
        help_text="Fixed when the cart is made. Empty for a cart of an older release until it is changed.",
    )
    created_at = models.DateTimeField(default=clock.now)

    changed_at = models.DateTimeField(db_default=Now(), editable=False)

    retention = (
        DeletedAfter(since="changed_at", setting="CART_RETENTION_DAYS", batch_rows=100),
        DeletedAfter(since="created_at", setting="UNUSED_CART_RETENTION_DAYS", condition="version = 0"),
    )

    class Meta:
        indexes = [
            models.Index(fields=["changed_at"], name="cart_age"),
            models.Index(fields=["created_at"], condition=Q(version=0), name="cart_unused"),
        ]

    def __str__(self) -> str:
        return str(self.id)


class CartItem(models.Model):
    """A SKU and its quantity in a cart."""

    cart = models.ForeignKey(Cart, on_delete=models.CASCADE, related_name="items")
    sku = models.CharField(max_length=sizes.SKU_LENGTH)
    quantity = models.IntegerField()
    seen_price = models.BigIntegerField(
        null=True, blank=True, help_text="Price, in minor units, when the customer set the quantity."
    )

    retention = DeletedWith("orders_cart", by="cart_id")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["cart", "sku"], name="one_item_per_sku_in_a_cart"),
            models.CheckConstraint(condition=Q(quantity__gte=1), name="cart_quantity_positive"),
        ]

    def __str__(self) -> str:
        return f"{self.quantity} × {self.sku}"


class Step(models.TextChoices):
    """The position of an order in its checkout. `checkout.runner` gives the order of the steps."""

    RESERVING = "reserving"
    AUTHORIZING = "authorizing"
    CONFIRMING = "confirming"
    CAPTURING = "capturing"
    DONE = "done"
    UNDO_MONEY = "undo_money"
    UNDO_STOCK = "undo_stock"
    CLOSED = "closed"


class Order(LeasedModel):
    """An order with the state of its checkout, in one row, so that one UPDATE under the lease changes both."""

    CANCELLABLE_STATUSES = (OrderStatus.PENDING, OrderStatus.CONFIRMED, OrderStatus.ON_HOLD)

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    number = models.CharField(max_length=12, unique=True, default=readable_number)
    user_id = models.UUIDField(null=True, blank=True)
    email = models.EmailField(max_length=sizes.EMAIL_LENGTH)
    cart_id = models.UUIDField(null=True, blank=True)
    status = models.CharField(max_length=10, choices=STATUS_CHOICES, default=OrderStatus.PENDING)
    step = models.CharField(max_length=12, choices=Step, default=Step.RESERVING)
    sequence = models.BigIntegerField(default=1)

    currency = models.CharField(max_length=sizes.CURRENCY_LENGTH)
    items_total = models.BigIntegerField()
    discount_total = models.BigIntegerField(default=0)
    shipping_total = models.BigIntegerField(default=0)
    tax_total = models.BigIntegerField(default=0)
    total = models.BigIntegerField()
    shipping_address = models.JSONField()
    billing_address = models.JSONField(null=True, blank=True)

    payment_provider = models.CharField(max_length=sizes.PROVIDER_LENGTH)
    payment_token = models.CharField(
        max_length=sizes.PAYMENT_TOKEN_LENGTH, blank=True, help_text="Deleted once the payment is authorized."
    )
    attempt_counters = models.JSONField(
        null=True,
        blank=True,
        help_text="Keyed hashes by which a declined payment is counted, for a limit on them. Deleted with the payment token.",
    )
    hold_keys = models.JSONField(
        null=True,
        blank=True,
        help_text="Keyed hashes by which the stock is counted that the order holds unpaid. Deleted once it is counted or paid.",
    )
    payment_id = models.UUIDField(null=True, blank=True)
    payment_status = models.CharField(max_length=20, blank=True)
    payment_action = models.JSONField(null=True, blank=True)

    refusal = models.JSONField(
        null=True, blank=True, help_text="Why the order was rejected: code and facts of the error."
    )
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(help_text="When a waiting checkout expires.")
    tries = models.IntegerField(default=0, help_text="Consecutive tries of the present step without an answer.")
    timeline = models.JSONField(default=list)
    created_at = models.DateTimeField(default=clock.now)

    # Other orders are kept: they are the record of a purchase. An order that was refused for what the quote showed has left
    # nothing in other contexts. Its events go first, which are compared with it.
    retention = DeletedAfter(
        since="created_at",
        setting="REFUSED_ORDER_RETENTION_DAYS",
        only="orders that were refused at once for lack of stock",
        condition="""status = 'rejected' AND (refusal -> 'is_quoted') = 'true' AND NOT EXISTS (
    SELECT FROM shop_outboxevent event WHERE event.stream = concat('orders.order:', old.id))""",
        with_keys=True,
        batch_rows=20,
    )

    class Meta:
        ordering = [F("created_at").desc()]
        indexes = [
            models.Index(fields=["due_at"], condition=Q(due_at__isnull=False), name="order_due"),
            models.Index(fields=["user_id", "-created_at"], name="orders_of_a_user"),
            models.Index(fields=["-created_at"], name="order_latest"),
            models.Index(fields=["email"], name="orders_of_an_email"),
            models.Index(
                fields=["cart_id"],
                condition=Q(step__in=[Step.UNDO_MONEY, Step.UNDO_STOCK]),
                name="undone_order_of_cart",
            ),
            models.Index(
                fields=["created_at"],
                condition=Q(status=OrderStatus.REJECTED, refusal__is_quoted=True),
                name="order_refused_by_quote",
            ),
        ]
        constraints = [
            models.UniqueConstraint(fields=["cart_id"], condition=IS_LIVE, name="one_live_order_per_cart"),
            models.CheckConstraint(
                condition=Q(total=F("items_total") - F("discount_total") + F("shipping_total") + F("tax_total")),
                name="order_total_adds_up",
            ),
        ]

    is_answered_by_request = False  # whether the customer's request waits for the outcome of this run of the checkout
    acquired_at = None  # when a stored order's lease was acquired, by the clock of the database

    def __str__(self) -> str:
        return self.number

    @property
    def is_expired(self) -> bool:
        """Return whether the time to pay was over when the lease was acquired."""
        return self.acquired_at is not None and self.expires_at <= self.acquired_at

    @property
    def is_final(self) -> bool:
        """Return whether the checkout has ended. Only a cancel re-opens one that is done."""
        return self.step in (Step.DONE, Step.CLOSED)


class UnpaidHold(models.Model):
    """An order that waits for its payment with stock reserved, once for each key that its limits count by.

    It counts as long as the order is pending. `subject`: a keyed hash, of an e-mail address for example.
    """

    subject = models.CharField(max_length=64)
    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="unpaid_holds")
    units = models.BigIntegerField()
    created_at = models.DateTimeField(db_default=Now())

    retention = (
        DeletedAfter(
            since="created_at",
            period=timedelta(days=1),
            only="those of orders that wait no longer",
            condition="NOT EXISTS (SELECT FROM orders_order placed WHERE placed.id = old.order_id AND status = 'pending')",
        ),
        DeletedWith("orders_order", by="order_id"),
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["subject", "order"], name="order_is_held_once_by_subject"),
            models.CheckConstraint(condition=Q(units__gt=0), name="hold_has_units"),
        ]
        indexes = [models.Index(fields=["created_at"], name="unpaid_hold_age")]

    def __str__(self) -> str:
        return f"{format_count(self.units, 'unit')} of {self.order_id}"


class OrderPayment(models.Model):
    """State of an order's payment after the checkout, as payments reports it: refunds, disputes, tasks for staff.

    An order has this row once something of the kind has happened. It is written only forward, by the payment's version.
    """

    order = models.OneToOneField(Order, on_delete=models.CASCADE, primary_key=True, related_name="payment_summary")
    version = models.BigIntegerField(default=0, help_text="Version of the payment that was read.")
    status = models.CharField(max_length=20)
    captured = models.BigIntegerField(default=0, help_text="In minor units, as all amounts of this table.")
    refunded = models.BigIntegerField(default=0)
    disputed = models.BigIntegerField(default=0)
    dispute = models.CharField(max_length=10, default="none")
    attention = models.CharField(max_length=20, blank=True, help_text="What staff have to decide about the payment.")
    refunds = models.JSONField(default=list, help_text="Refunds that were made: id, amount, cause, at.")
    timeline = models.JSONField(default=list, help_text="Entries for the timeline of the order.")
    sequence = models.BigIntegerField(default=0, help_text="Raised by every published event.")

    retention = DeletedWith("orders_order", by="order_id")

    class Meta:
        indexes = [models.Index(fields=["attention"], condition=~Q(attention=""), name="order_payment_attention")]
        constraints = [
            models.CheckConstraint(
                condition=Q(refunded__gte=0, captured__gte=F("refunded")), name="order_refunds_within_captured"
            )
        ]

    def __str__(self) -> str:
        return f"payment of {self.order_id}"


class OrderSearchText(models.Model):
    """Number, e-mail address and names of an order in lower case, which staff search. A trigger writes it."""

    id = models.UUIDField(primary_key=True)
    text = models.TextField()

    retention = DeletedWith("orders_order", by="id")

    class Meta:
        db_table = "orders_order_search"

    def __str__(self) -> str:
        return self.text


class OrderLine(models.Model):
    """One line of an order, at the price that was frozen with it."""

    # The index of the constraint serves it.
    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="lines", db_index=False)
    position = models.SmallIntegerField()
    sku = models.CharField(max_length=sizes.SKU_LENGTH)
    name = models.CharField(max_length=sizes.OFFER_NAME_LENGTH)
    quantity = models.IntegerField()
    unit_price = models.BigIntegerField()
    total = models.BigIntegerField()
    currency = models.CharField(
        max_length=3, blank=True, db_default="", help_text="Of the offer. Empty for a line of an older release."
    )

    retention = DeletedWith("orders_order", by="order_id")

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["order", "position"], name="one_line_per_position"),
            models.CheckConstraint(condition=Q(quantity__gte=1, unit_price__gte=0), name="order_line_sane"),
            models.CheckConstraint(condition=Q(total=F("quantity") * F("unit_price")), name="order_line_adds_up"),
        ]

    def __str__(self) -> str:
        return f"{self.quantity} × {self.sku}"
