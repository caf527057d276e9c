"""Tables of inventory.

The catalogue is read often and changed rarely. Stock is one narrow row per SKU, so that a sale writes little.
"""

from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVector, SearchVectorField
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from contexts.inventory.interface import ReservationStatus
from shop import sizes
from shop.db.retention import Kept
from shop.ids import uuid7
from shop.money import MAX_AMOUNT, Money

validate_sku = RegexValidator(r"^[A-Za-z0-9._-]{1,64}\Z", "Letters, digits, dot, underscore and hyphen, at most 64.")


class Category(models.Model):
    """A category of products."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    slug = models.SlugField(max_length=sizes.SLUG_LENGTH, unique=True)
    name = models.CharField(max_length=100)
    description = models.TextField(max_length=2000, blank=True)
    position = models.PositiveIntegerField(default=0)

    retention = Kept(because="It is part of the catalogue.")

    class Meta:
        verbose_name_plural = "categories"

    def __str__(self) -> str:
        return self.name


class Product(models.Model):
    """A product with one or more variants.

    `min_price` and `max_price` are a projection of the active variants' prices, so that lists are filtered and sorted
    in one table. Each change of a variant updates them. A product without active variants has NULL and is not listed.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    slug = models.SlugField(max_length=sizes.SLUG_LENGTH, unique=True)
    name = models.CharField(max_length=sizes.PRODUCT_NAME_LENGTH)
    description = models.TextField(max_length=5000, blank=True)
    category = models.ForeignKey(
        Category, models.PROTECT, to_field="slug", db_column="category", related_name="products", db_index=False
    )
    is_active = models.BooleanField(default=True, db_default=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    min_price = models.BigIntegerField(null=True, editable=False)
    max_price = models.BigIntegerField(null=True, editable=False)
    document = models.GeneratedField(
        expression=SearchVector("name", weight="A", config="english")
        + SearchVector("description", weight="B", config="english"),
        output_field=SearchVectorField(),
        db_persist=True,
    )

    retention = Kept(because="It is part of the catalogue.")

    class Meta:
        indexes = [
            GinIndex(fields=["document"], name="product_document"),
            models.Index(fields=["category", "name", "id"], name="product_by_category"),
            models.Index(fields=["name", "id"], name="product_by_name"),
            models.Index(fields=["min_price", "id"], name="product_by_price"),
        ]

    def __str__(self) -> str:
        return self.name


class Variant(models.Model):
    """A variant of a product that can be put into a cart. Its SKU never changes, and it is never deleted."""

    sku = models.CharField("SKU", primary_key=True, max_length=sizes.SKU_LENGTH, validators=[validate_sku])
    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="variants")
    name = models.CharField(max_length=sizes.VARIANT_NAME_LENGTH)
    # in minor units of its currency
    price = models.BigIntegerField(validators=[MinValueValidator(0), MaxValueValidator(MAX_AMOUNT)])
    currency = models.CharField(max_length=sizes.CURRENCY_LENGTH, editable=False)
    position = models.PositiveIntegerField(default=0)
    is_active = models.BooleanField(default=True, db_default=True)

    retention = Kept(because="Orders and stock refer to its SKU.")

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(price__gte=0, price__lte=MAX_AMOUNT), name="variant_price_in_range"),
            models.CheckConstraint(condition=Q(currency__regex="^[A-Z]{3}$"), name="variant_currency_is_iso_4217"),
        ]

    def __str__(self) -> str:
        return self.sku

    @property
    def money(self) -> Money:
        return Money(self.price, self.currency)


class Stock(models.Model):
    """Units of a SKU on hand, and how many of them are reserved for orders.

    `on_hand` always equals `initial` plus the sum of the movements. `sequence` counts the published events of this SKU:
    sold out, back in stock.
    """

    variant = models.OneToOneField(
        Variant, on_delete=models.PROTECT, primary_key=True, db_column="sku", related_name="stock", verbose_name="SKU"
    )
    on_hand = models.BigIntegerField(default=0, db_default=0)
    reserved = models.BigIntegerField(default=0, db_default=0)
    initial = models.BigIntegerField(default=0, db_default=0)
    sequence = models.BigIntegerField(default=0, db_default=0)

    retention = Kept(because="It has one row for each SKU.")

    class Meta:
        verbose_name_plural = "stock"
        constraints = [
            models.CheckConstraint(
                condition=Q(reserved__gte=0, reserved__lte=F("on_hand")), name="reserved_within_on_hand"
            ),
        ]

    def __str__(self) -> str:
        return self.variant_id


class StockMovement(models.Model):
    """A change of the units on hand. Append-only."""

    class Kind(models.TextChoices):
        RECEIPT = "receipt"
        ADJUSTMENT = "adjustment"
        SALE = "sale"
        RESTOCK = "restock"

    # No foreign key: the writer of a movement holds the lock on the stock row, and stock rows are never deleted.
    sku = models.CharField("SKU", max_length=sizes.SKU_LENGTH)
    kind = models.CharField(max_length=10, choices=Kind)
    quantity = models.BigIntegerField(help_text="Negative when units leave the stock.")
    order_id = models.UUIDField(null=True, blank=True)
    at = models.DateTimeField(db_default=Now())
    actor = models.CharField(
        max_length=sizes.ACTOR_LENGTH, help_text="Staff member, or the context that requested the change."
    )
    note = models.CharField(
        max_length=sizes.TEXT_LENGTH, blank=True, help_text="Delivery reference of a receipt; otherwise the reason."
    )
    uid = models.UUIDField(
        "id",
        null=True,
        blank=True,
        editable=False,
        help_text="Of a receipt or adjustment; its idempotency key names it.",
    )

    retention = Kept(because="The movements explain the stock: it is their sum.")

    class Meta:
        constraints = [
            models.CheckConstraint(condition=~Q(quantity=0), name="movement_moves"),
            models.UniqueConstraint(fields=["uid"], condition=Q(uid__isnull=False), name="one_movement_per_uid"),
        ]
        indexes = [models.Index(fields=["sku", "id"], name="movements_of_sku")]

    def __str__(self) -> str:
        return f"{self.quantity:+} {self.sku}"


class CatalogueVersion(models.Model):
    """Version of the catalogue: the sum over all shards. Triggers increment it when a category, product or variant changes.

    It is sharded by database connection, so that two concurrent changes rarely wait for each other.
    """

    shard = models.SmallIntegerField(primary_key=True)
    version = models.BigIntegerField(default=0, db_default=0)

    retention = Kept(because="It has a fixed number of rows.")

    def __str__(self) -> str:
        return str(self.shard)


class Reservation(models.Model):
    """The reservation of an order, its refusal, or the tombstone of a release that came first."""

    order_id = models.UUIDField(primary_key=True)
    status = models.CharField(
        max_length=10, choices=[(status.value, status.value.capitalize()) for status in ReservationStatus]
    )
    created_at = models.DateTimeField(db_default=Now())
    due_at = models.DateTimeField(null=True, blank=True, help_text="When the hold expires.")
    announce_at = models.DateTimeField(
        null=True, blank=True, help_text="When orders is notified next that the hold has expired."
    )
    refused_sku = models.CharField(max_length=sizes.SKU_LENGTH, blank=True, db_default="")
    refused_available = models.BigIntegerField(null=True, blank=True)
    sequence = models.BigIntegerField(default=1)

    retention = Kept(because="It shows why an order has its units, and that a refused order gets none.")

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=[status.value for status in ReservationStatus]),
                name="reservation_status_known",
            ),
            models.CheckConstraint(
                condition=Q(status=ReservationStatus.REFUSED.value, refused_available__isnull=False)
                | (~Q(status=ReservationStatus.REFUSED.value) & Q(refused_available__isnull=True)),
                name="refusal_has_its_facts",
            ),
        ]
        indexes = [
            models.Index(
                fields=["announce_at"], condition=Q(status=ReservationStatus.HELD.value), name="reservation_due"
            )
        ]

    def __str__(self) -> str:
        return str(self.order_id)


class ReservationLine(models.Model):
    """A SKU and its requested quantity. Requested lines with the same SKU are added up."""

    pk = models.CompositePrimaryKey("reservation_id", "sku")
    reservation = models.ForeignKey(
        Reservation, models.PROTECT, db_column="order_id", related_name="lines", db_index=False
    )
    sku = models.CharField(max_length=sizes.SKU_LENGTH)
    quantity = models.BigIntegerField()

    retention = Kept(because="It is part of a reservation.")

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(quantity__gt=0), name="line_has_units")]

    def __str__(self) -> str:
        return f"{self.quantity} × {self.sku}"
