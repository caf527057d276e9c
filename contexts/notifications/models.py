"""Tables of notifications."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Coalesce, Now

from shop.ids import uuid7
from shop.leases import Leased


class Message(Leased):
    """One message to one person about one thing. Whom an e-mail goes to, and what it says, is asked when it is sent."""

    class Template(models.TextChoices):
        ORDER_CONFIRMED = "order_confirmed"
        ORDER_REJECTED = "order_rejected"
        ORDER_CANCELLED = "order_cancelled"
        ORDER_PUT_ON_HOLD = "order_put_on_hold"
        WELCOME = "welcome"

    class Channel(models.TextChoices):
        IN_APP = "in_app", "in-app"
        EMAIL = "email", "e-mail"

    class Status(models.TextChoices):
        WAITING = "waiting"
        SENT = "sent"
        FAILED = "failed"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    order_id = models.UUIDField(null=True, blank=True)
    user_id = models.UUIDField(null=True, blank=True, help_text="Empty for a guest.")
    subject_id = models.GeneratedField(
        expression=Coalesce("order_id", "user_id"), output_field=models.UUIDField(), db_persist=True,
        help_text="What it is about: the order, or else the user.",
    )  # fmt: skip
    template = models.CharField(max_length=30, choices=Template)
    channel = models.CharField(max_length=10, choices=Channel)
    status = models.CharField(max_length=10, choices=Status)
    text = models.TextField(blank=True, db_default="", help_text="In-app only; an e-mail leaves no copy here.")
    message_id = models.CharField("Message-ID", max_length=300, blank=True, db_default="")
    reason = models.CharField(max_length=300, blank=True, db_default="", help_text="Why it is not sent yet, or never.")
    sequence = models.BigIntegerField(default=0, db_default=0)
    created_at = models.DateTimeField(db_default=Now())
    sent_at = models.DateTimeField(null=True, blank=True)
    read_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["subject_id", "template", "channel"], name="one_message_per_subject"),
            models.CheckConstraint(
                condition=Q(channel="in_app", user_id__isnull=False)
                | Q(channel="email", order_id__isnull=False, text=""),
                name="message_fits_channel",
            ),
        ]
        indexes = [
            models.Index(fields=["due_at"], condition=Q(due_at__isnull=False), name="message_due"),
            models.Index(fields=["user_id", "-id"], condition=Q(channel="in_app"), name="message_inbox"),
        ]

    def __str__(self) -> str:
        return f"{self.template} by {self.get_channel_display()} for {self.subject_id}"
