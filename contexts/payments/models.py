"""Tables of payments."""

from enum import StrEnum

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from contexts.payments.interface import DisputeState, PaymentStatus, RefundCause
from shop import sizes
from shop.db.leases import LeasedModel
from shop.db.retention import Kept
from shop.ids import uuid7
from shop.money import Money

ALIAS = "payments"  # database of this context


class RefundStatus(StrEnum):
    """The status of a refund."""

    PENDING = "pending"
    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"  # made, but the customer's bank returned it later


class StaffTask(StrEnum):
    """The decision about a payment that staff have to make."""

    REFUND_REFUSED = "refund_refused"
    DISPUTED = "disputed"
    CAPTURED_IN_PART = "captured_in_part"
    REFUND_FAILED = "refund_failed"


def _to_choices(statuses: type[StrEnum]) -> list[tuple[str, str]]:
    return [(status.value, status.value.replace("_", " ")) for status in statuses]


class Payment(LeasedModel):
    """The payment of one order. An order cancelled before its payment arrived has a tombstone: a row without a provider."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    order_id = models.UUIDField(unique=True)
    order_number = models.CharField(
        max_length=12, blank=True, default="", db_default="", help_text="The number that people know the order by."
    )
    customer_id = models.UUIDField(
        null=True, blank=True, help_text="The customer who may read the payment. Empty for a guest."
    )
    provider = models.CharField(max_length=50, blank=True)
    token = models.TextField(
        blank=True, help_text="Issued by the provider's form. Deleted as soon as the provider has responded."
    )
    status = models.CharField(max_length=20, choices=_to_choices(PaymentStatus))
    amount = models.BigIntegerField()  # in minor units, as all amounts of this table
    authorized = models.BigIntegerField(default=0)
    captured = models.BigIntegerField(default=0)
    refunded = models.BigIntegerField(default=0)
    capturing = models.BigIntegerField(default=0, db_default=0, help_text="Amount of the running capture.")
    pending = models.BigIntegerField(default=0, help_text="Amount of the running refund.")
    refund_id = models.UUIDField(null=True, blank=True, help_text="The running refund.")
    currency = models.CharField(max_length=sizes.CURRENCY_LENGTH)
    reason = models.CharField(max_length=200, blank=True, help_text="The provider's reason for a refusal.")
    reference = models.CharField(max_length=100, blank=True, help_text="The id of the payment intent at the provider.")
    action_url = models.CharField(max_length=1000, blank=True)
    cancel_wanted = models.BooleanField(default=False)
    next_attempt = models.UUIDField(
        null=True, blank=True, help_text="The attempt that starts as soon as the present intent is cancelled."
    )
    next_provider = models.CharField(max_length=50, blank=True, default="", db_default="")
    next_token = models.TextField(blank=True, default="", db_default="")
    refunded_elsewhere = models.BigIntegerField(
        default=0, db_default=0, help_text="The part of `refunded` that was not paid back through the provider."
    )
    refunds_failed = models.BigIntegerField(
        default=0, db_default=0, help_text="Refunds that the customer's bank returned later, since the beginning."
    )
    owed = models.BigIntegerField(
        default=0, db_default=0, help_text="What such refunds owe the customer, until it is refunded again or accepted."
    )
    waived = models.BigIntegerField(
        default=0, db_default=0, help_text="What staff decided not to refund although the order was cancelled."
    )
    disputed = models.BigIntegerField(default=0, db_default=0, help_text="What a dispute has taken from the shop.")
    dispute = models.CharField(max_length=10, choices=_to_choices(DisputeState), default="none", db_default="none")
    attention = models.CharField(
        max_length=20,
        choices=_to_choices(StaffTask),
        blank=True,
        default="",
        db_default="",
        help_text="What staff have to decide. Empty if nothing.",
    )
    capture_attempts = models.IntegerField(default=0, db_default=0, help_text="Captures that were started.")
    check_at = models.DateTimeField(
        null=True, blank=True, help_text="When a settled payment is compared with its provider next. Empty: never."
    )
    checked_at = models.DateTimeField(
        null=True, blank=True, help_text="When the provider last reported the state of the payment."
    )
    version = models.BigIntegerField(default=1, help_text="Raised by every change.")
    sequence = models.BigIntegerField(default=0, help_text="Raised by every published event.")
    created_at = models.DateTimeField(db_default=Now())

    retention = Kept(because="It is the record of money, and the tombstone of an order that was cancelled before.")

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(refunded__gte=0, pending__gte=0, captured__gte=F("refunded") + F("pending")),
                name="refunds_within_captured",
            ),
            models.CheckConstraint(
                condition=Q(captured__lte=F("authorized"), authorized__lte=F("amount")),
                name="captured_within_authorized",
            ),
            models.UniqueConstraint(fields=["reference"], condition=~Q(reference=""), name="one_payment_per_reference"),
        ]
        indexes = [
            models.Index(fields=["due_at"], condition=Q(due_at__isnull=False), name="payment_due"),
            models.Index(fields=["check_at"], condition=Q(check_at__isnull=False), name="payment_check"),
            models.Index(
                fields=["order_id"], condition=Q(order_number="") & ~Q(provider=""), name="payment_without_number"
            ),
            models.Index(fields=["attention"], condition=~Q(attention=""), name="payment_attention"),
        ]

    def __str__(self) -> str:
        return self.order_number or str(self.id)

    @property
    def refundable(self) -> int:
        """Return the captured amount that is neither refunded, nor disputed, nor waived, in minor units."""
        return self.captured - self.refunded - self.disputed - self.waived


class PaymentSearchText(models.Model):
    """The order number of a payment in lower case, by parts of which staff find it. A trigger writes it."""

    id = models.UUIDField(primary_key=True)
    text = models.TextField()

    retention = Kept(because="It is part of a payment.")

    class Meta:
        db_table = "payments_payment_search"

    def __str__(self) -> str:
        return self.text


class PaymentAttempt(models.Model):
    """An intent of a payment that was paid in another way: the ones before, and the one that replaced them.

    The payment has the reference of the live intent. All others are over: they hold no money.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    payment = models.ForeignKey(Payment, on_delete=models.PROTECT, related_name="attempts")
    provider = models.CharField(max_length=50)
    reference = models.CharField(max_length=100, unique=True, help_text="The id of the payment intent at the provider.")
    at = models.DateTimeField(db_default=Now())

    retention = Kept(because="It is part of a payment.")

    def __str__(self) -> str:
        return f"attempt {self.id}"


class Refund(models.Model):
    """A refund of a payment. Its id is the idempotency key of the request to the provider."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    payment = models.ForeignKey(Payment, on_delete=models.PROTECT, related_name="refunds")
    amount = models.BigIntegerField()
    reason = models.CharField(max_length=sizes.TEXT_LENGTH)
    key = models.CharField(
        max_length=500, unique=True, help_text="Idempotency key of the request. A repeat returns the same refund."
    )
    fingerprint = models.CharField(max_length=64, blank=True, help_text="Keyed hash of the request's body.")
    status = models.CharField(max_length=10, choices=_to_choices(RefundStatus))
    refusal = models.CharField(max_length=200, blank=True, help_text="The provider's reason for a refusal.")
    actor = models.CharField(
        max_length=sizes.ACTOR_LENGTH, blank=True, help_text="Empty if no member of staff requested it."
    )
    cause = models.CharField(max_length=12, choices=_to_choices(RefundCause), default="", db_default="", blank=True)
    at = models.DateTimeField(db_default=Now())

    retention = Kept(because="It is the record of money.")

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(amount__gte=0), name="refund_not_negative"),
            models.UniqueConstraint(
                fields=["payment"], condition=Q(status=RefundStatus.PENDING.value), name="one_running_refund"
            ),
        ]

    def __str__(self) -> str:
        return str(self.id)


ACCOUNTS = [
    ("provider", "owed by the provider"),
    ("sales", "sales"),
    ("disputes", "taken by disputes"),
    ("other_means", "paid by other means"),
]


class LedgerEntry(models.Model):
    """One side of a booking, in minor units; positive is debit. The sides of a booking sum to 0. A trigger keeps the
    table append-only."""

    payment = models.ForeignKey(Payment, on_delete=models.PROTECT, related_name="entries", db_index=False)
    booking = models.CharField(max_length=50, help_text="`capture`, `dispute` with a number, or the id of the refund.")
    account = models.CharField(max_length=20, choices=ACCOUNTS)
    amount = models.BigIntegerField()
    currency = models.CharField(max_length=sizes.CURRENCY_LENGTH)
    at = models.DateTimeField(db_default=Now())

    retention = Kept(because="It is the record of money.")

    class Meta:
        verbose_name_plural = "ledger entries"
        constraints = [models.UniqueConstraint(fields=["payment", "booking", "account"], name="booked_once")]

    def __str__(self) -> str:
        return f"{self.booking}, {self.get_account_display()}: {Money(self.amount, self.currency)}"
