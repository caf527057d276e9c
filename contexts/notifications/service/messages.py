"""Messages: written by event handlers, once per subject, template and channel; read in the app."""

from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet

from contexts.notifications.channels import in_app
from contexts.notifications.interface import Channel, MessageTemplate
from contexts.notifications.models import ALIAS, Message
from contexts.notifications.service.views import InboxRow
from shop.audit import audit
from shop.db.database import PreparedStatement, execute, transaction
from shop.errors import Conflict, Invalid, NotFound
from shop.ids import uuid7

MAX_REASON_LENGTH = 300


class MessageNotFound(NotFound):
    """There is no such message."""


class NotFailed(Conflict):
    """Only a failed message or a parked one can be resent."""


class NotParked(Conflict):
    """Only a parked message can be marked as sent."""


class NotUnsent(Conflict):
    """Only a failed or parked message can be discarded."""


class ReasonMissing(Invalid):
    """Enter a reason to discard a message."""


class NewMessage(NamedTuple):
    """A message that is not stored yet."""

    id: UUID
    order_id: UUID | None
    user_id: UUID | None
    template: MessageTemplate
    occurrence: str
    channel: Channel
    text: str = ""
    message_id: str = ""

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Return its unique key. Rows are inserted in this order, so that transactions do not wait in a circle."""
        return str(self.order_id or self.user_id), self.template, self.channel, self.occurrence


# Existing messages stay as they are, so that a repeated event changes nothing.
_INSERT_MESSAGES_SQL = PreparedStatement("""
INSERT INTO notifications_message
    (id, order_id, user_id, template, occurrence, channel, text, message_id, status, sent_at, due_at)
SELECT id, order_id, user_id, template, occurrence, channel, text, message_id,
       CASE channel WHEN 'email' THEN 'waiting' ELSE 'sent' END,
       CASE channel WHEN 'in_app' THEN now() END,
       CASE channel WHEN 'email' THEN now() END
FROM unnest(%s::uuid[], %s::uuid[], %s::uuid[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[])
     AS message (id, order_id, user_id, template, occurrence, channel, text, message_id)
ON CONFLICT DO NOTHING""")


def write(messages: Iterable[NewMessage]) -> None:
    """Store messages; e-mails are due now. A message that exists already stays as it is."""
    in_order = sorted(messages, key=lambda message: message.key)
    columns = [list(column) for column in zip(*in_order, strict=True)]
    with transaction(ALIAS):
        execute(ALIAS, _INSERT_MESSAGES_SQL, columns)


def build_order_messages(
    template: MessageTemplate,
    *,
    order_id: UUID,
    user_id: UUID | None,
    number: str,
    reason: str = "",
    occurrence: str = "",
    **values: object,
) -> list[NewMessage]:
    """Return an e-mail about an order, and for a registered customer an in-app message.

    reason: the error code for which the order was rejected.
    occurrence: what distinguishes messages of the same template about one order, such as the id of a refund.
    values: further values of the in-app text.
    """
    messages = [_build_email(order_id, user_id, template, occurrence)]
    if user_id:
        text = in_app.render(template, reason=reason, number=number, **values)
        messages.append(NewMessage(uuid7(), order_id, user_id, template, occurrence, Channel.IN_APP, text))
    return messages


def _build_email(order_id: UUID, user_id: UUID | None, template: MessageTemplate, occurrence: str = "") -> NewMessage:
    email_id = uuid7()
    message_id = f"<{email_id}@{urlsplit(settings.SITE_URL).hostname}>"
    return NewMessage(email_id, order_id, user_id, template, occurrence, Channel.EMAIL, message_id=message_id)


# One message per order: requests that come while it waits are answered by the same e-mail.
_SEND_AGAIN_SQL = """
UPDATE notifications_message
SET status = 'waiting', due_at = now(), sent_at = NULL, reason = '', unknown_outcomes = 0, message_id = %s,
    created_at = now()
WHERE subject_id = %s AND template = 'order_link' AND channel = 'email' AND status <> 'waiting'"""


def write_link_message(order_id: UUID) -> None:
    """Write an e-mail with the link to an order, or send it again under a new Message-ID. It is due now."""
    message = _build_email(order_id, None, MessageTemplate.ORDER_LINK)
    with transaction(ALIAS):
        if not execute(ALIAS, _SEND_AGAIN_SQL, [message.message_id, order_id]):
            write([message])


def write_welcome_message(user_id: UUID) -> None:
    """Write the first message of a user's inbox."""
    text = in_app.render(MessageTemplate.WELCOME)
    write([NewMessage(uuid7(), None, user_id, MessageTemplate.WELCOME, "", Channel.IN_APP, text)])


def list_inbox(user_id: UUID) -> QuerySet[Message, InboxRow]:
    """Return the in-app messages of a user."""
    inbox = Message.objects.filter(user_id=user_id, channel=Channel.IN_APP)
    return inbox.values("id", "template", "text", "order_id", "created_at", "read_at")


def mark_read(message_id: UUID, *, user_id: UUID) -> None:
    """Record when a message was first read. Raises MessageNotFound, also for a message of another user."""
    with transaction(ALIAS):
        updated = execute(
            ALIAS,
            """UPDATE notifications_message SET read_at = coalesce(read_at, now())
               WHERE id = %s AND user_id = %s AND channel = 'in_app'""",
            [message_id, user_id],
        )
        if not updated:
            raise MessageNotFound


def resend(message_id: UUID, *, actor: str) -> None:
    """Make a failed or parked message due again, with the same Message-ID. Raises NotFailed."""
    change = "status = 'waiting', reason = '', due_at = now(), unknown_outcomes = 0"
    _decide(message_id, change, [], ("failed", "parked"), NotFailed, actor=actor, action="send again")


def mark_sent(message_id: UUID, *, actor: str) -> None:
    """Record that a parked message has arrived, as staff found out at the mail server. Raises NotParked."""
    change = "status = 'sent', reason = '', sent_at = now(), unknown_outcomes = 0"
    _decide(message_id, change, [], ("parked",), NotParked, actor=actor, action="mark as sent")


def discard(message_id: UUID, *, actor: str, reason: str) -> None:
    """Give up a failed or parked message. Raises NotUnsent, ReasonMissing."""
    reason = reason.strip()
    if not reason:
        raise ReasonMissing
    _decide(
        message_id,
        "status = 'discarded', reason = %s",
        [reason[:MAX_REASON_LENGTH]],
        ("failed", "parked"),
        NotUnsent,
        actor=actor,
        action="discard",
        reason=reason,
    )


def _decide(
    message_id: UUID,
    change: str,
    values: list[object],
    statuses: tuple[str, ...],
    error: type[Conflict],
    *,
    actor: str,
    action: str,
    **detail: str,
) -> None:
    """Change a message in one of these statuses and record who decided it. Raises the error for another status."""
    with transaction(ALIAS):
        sql = f"UPDATE notifications_message SET {change} WHERE id = %s AND status = ANY(%s)"
        if not execute(ALIAS, sql, [*values, message_id, list(statuses)]):
            raise error
        audit(ALIAS, actor=actor, action=action, object_type="message", object_id=message_id, **detail)
