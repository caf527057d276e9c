"""Tables of payments."""

from typing import get_args

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from contexts.payments.interface import Status
from shop.ids import uuid7
from shop.leases import Leased

STATUSES = [(status, status.replace("_", " ")) for status in get_args(Status)]


class Payment(Leased):
    """The money of one order. An order that was cancelled before its payment came has a tombstone: without a provider."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    order_id = models.UUIDField(unique=True)
    customer_id = models.UUIDField(null=True, blank=True, help_text="Who may look at it; empty for a guest.")
    provider = models.CharField(max_length=50, blank=True)
    token = models.TextField(blank=True, help_text="From the provider's form; forgotten once the provider has answered.")
    status = models.CharField(max_length=20, choices=STATUSES)
    amount = models.BigIntegerField(help_text="Minor units, as all amounts here.")
    authorized = models.BigIntegerField(default=0)
    captured = models.BigIntegerField(default=0)
    refunded = models.BigIntegerField(default=0)
    pending = models.BigIntegerField(default=0, help_text="What the running refund gives back.")
    refund_id = models.UUIDField(null=True, blank=True, help_text="The running refund.")
    currency = models.CharField(max_length=3)
    reason = models.CharField(max_length=200, blank=True, help_text="The provider's, for a refusal.")
    reference = models.CharField(max_length=100, blank=True, help_text="What the provider knows the payment by.")
    action_url = models.CharField(max_length=1000, blank=True)
    cancel_wanted = models.BooleanField(default=False)
    version = models.BigIntegerField(default=1, help_text="Raised by every change.")
    sequence = models.BigIntegerField(default=0, help_text="Raised by every announcement.")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(refunded__gte=0, pending__gte=0, captured__gte=F("refunded") + F("pending")),
                name="refunds_within_captured",
            ),
            models.CheckConstraint(
                condition=Q(captured__lte=F("authorized"), authorized__lte=F("amount")), name="captured_within_authorized"
            ),
            models.UniqueConstraint(fields=["reference"], condition=~Q(reference=""), name="one_payment_per_reference"),
        ]
        indexes = [models.Index(fields=["due_at"], condition=Q(due_at__isnull=False), name="payment_due")]

    def __str__(self) -> str:
        return f"payment {self.id}"


class Refund(models.Model):
    """Money on its way back. Its id is the key under which the provider is asked for it."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    payment = models.ForeignKey(Payment, on_delete=models.PROTECT, related_name="refunds")
    amount = models.BigIntegerField()
    reason = models.CharField(max_length=200)
    key = models.CharField(max_length=500, unique=True, help_text="Of the request: repeated, it is the same refund.")
    fingerprint = models.CharField(max_length=64, blank=True, help_text="Keyed hash of the request's body.")
    status = models.CharField(max_length=10, choices=[(name, name) for name in ("pending", "done", "refused")])
    refusal = models.CharField(max_length=200, blank=True, help_text="The provider's reason.")
    actor = models.CharField(max_length=64, blank=True, help_text="Empty: the order was called off.")
    at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(amount__gte=0), name="refund_not_negative"),
            models.UniqueConstraint(fields=["payment"], condition=Q(status="pending"), name="one_running_refund"),
        ]

    def __str__(self) -> str:
        return f"refund {self.id}"


class LedgerEntry(models.Model):
    """One side of a booking: minor units, positive is debit. The sides of a booking sum to 0. Append-only, by trigger."""

    payment = models.ForeignKey(Payment, on_delete=models.PROTECT, related_name="entries", db_index=False)
    booking = models.CharField(max_length=50, help_text="capture, or the refund's id.")
    account = models.CharField(max_length=20, choices=[("provider", "owed by the provider"), ("sales", "sales")])
    amount = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name_plural = "ledger entries"
        constraints = [models.UniqueConstraint(fields=["payment", "booking", "account"], name="booked_once")]

    def __str__(self) -> str:
        return f"{self.booking} {self.account} {self.amount} {self.currency}"
