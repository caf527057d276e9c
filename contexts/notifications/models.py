"""Tables of notifications."""

from enum import StrEnum

from django.db import models
from django.db.models import Q
from django.db.models.functions import Coalesce, Now

from contexts.notifications.interface import Channel, MessageStatus, MessageTemplate
from shop.db.leases import LeasedModel
from shop.db.retention import DeletedAfter
from shop.ids import uuid7

ALIAS = "notifications"  # database of this context
CHANNEL_LABELS = {Channel.IN_APP: "in-app", Channel.EMAIL: "e-mail"}


def _to_choices(values: type[StrEnum]) -> list[tuple[str, str]]:
    return [(member.value, member.value.replace("_", " ").title()) for member in values]


class Message(LeasedModel):
    """A message to one person about one subject. The recipient and text of an e-mail are looked up when it is sent."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    order_id = models.UUIDField(null=True, blank=True)
    user_id = models.UUIDField(null=True, blank=True, help_text="Empty for a guest.")
    subject_id = models.GeneratedField(
        expression=Coalesce("order_id", "user_id"),
        output_field=models.UUIDField(),
        db_persist=True,
        help_text="The order that the message is about, or else the user.",
    )
    template = models.CharField(max_length=30, choices=_to_choices(MessageTemplate))
    occurrence = models.CharField(
        max_length=36,
        blank=True,
        default="",
        db_default="",
        help_text="What distinguishes messages of one template about one subject, such as the id of a refund.",
    )
    channel = models.CharField(
        max_length=10, choices=[(channel.value, label) for channel, label in CHANNEL_LABELS.items()]
    )
    status = models.CharField(max_length=10, choices=_to_choices(MessageStatus))
    text = models.TextField(
        blank=True, db_default="", help_text="Text of an in-app message. Empty for an e-mail, which is not stored."
    )
    message_id = models.CharField("Message-ID", max_length=300, blank=True, db_default="")
    reason = models.CharField(
        max_length=300, blank=True, db_default="", help_text="Why the message was not sent yet, or failed."
    )
    unknown_outcomes = models.IntegerField(
        default=0,
        db_default=0,
        help_text="Attempts after which the mail server may have accepted the e-mail without our knowledge.",
    )
    sequence = models.BigIntegerField(default=0, db_default=0)
    created_at = models.DateTimeField(db_default=Now())
    sent_at = models.DateTimeField(null=True, blank=True)
    read_at = models.DateTimeField(null=True, blank=True)

    # Other messages are kept: they show which news a customer got. Anybody can ask for links.
    retention = DeletedAfter(
        since="created_at",
        setting="LINK_MESSAGE_RETENTION_DAYS",
        only="messages with the link to an order",
        condition="""template = 'order_link' AND status NOT IN ('waiting', 'parked') AND NOT EXISTS (
    SELECT FROM shop_outboxevent event WHERE event.stream = concat('notifications.message:', old.id))""",
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["subject_id", "template", "channel", "occurrence"], name="one_message_per_occurrence"
            ),
            models.CheckConstraint(
                condition=Q(channel=Channel.IN_APP.value, user_id__isnull=False)
                | Q(channel=Channel.EMAIL.value, order_id__isnull=False, text=""),
                name="message_fits_channel",
            ),
        ]
        indexes = [
            models.Index(fields=["due_at"], condition=Q(due_at__isnull=False), name="message_due"),
            models.Index(fields=["user_id", "-id"], condition=Q(channel=Channel.IN_APP.value), name="message_inbox"),
            models.Index(
                fields=["created_at"], condition=Q(template=MessageTemplate.ORDER_LINK.value), name="message_link_age"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.template.replace('_', ' ')} by {self.get_channel_display()} for {self.subject_id}"
