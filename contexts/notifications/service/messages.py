"""Messages: written when something happened, once for each thing, template and channel; read in the app."""

from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet

from contexts.notifications.channels import in_app
from contexts.notifications.models import Message
from shop.audit import audit
from shop.database import Prepared, changed, transaction
from shop.errors import Conflict, NotFound
from shop.ids import uuid7

ALIAS = "notifications"


class MessageNotFound(NotFound):
    """There is no such message."""


class NotFailed(Conflict):
    """Only a message that failed can be sent again."""


# Whatever is there already stays: a fact that arrives twice leaves the messages of the first time.
_WRITE = Prepared("""
INSERT INTO notifications_message (id, order_id, user_id, template, channel, text, message_id, status, sent_at, due_at)
SELECT id, %s, %s, %s, channel, text, message_id,
       CASE channel WHEN 'email' THEN 'waiting' ELSE 'sent' END,
       CASE channel WHEN 'in_app' THEN now() END,
       CASE channel WHEN 'email' THEN now() END
FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::text[]) AS message (id, channel, text, message_id)
ON CONFLICT DO NOTHING""")


def about_order(template: str, *, order_id: UUID, user_id: UUID | None, number: str, **facts: Any) -> None:
    """Write the message about an order: an e-mail, due now, and for a registered customer one in the app."""
    mail = uuid7()
    messages = [(mail, "email", "", f"<{mail}@{urlsplit(settings.SITE_URL).hostname}>")]
    if user_id:
        messages.append((uuid7(), "in_app", in_app.text(template, number=number, **facts), ""))
    _write(order_id, user_id, template, messages)


def welcome(user_id: UUID) -> None:
    """Write the first message of somebody's inbox."""
    _write(None, user_id, "welcome", [(uuid7(), "in_app", in_app.text("welcome"), "")])


def _write(order_id: UUID | None, user_id: UUID | None, template: str, messages: list[tuple]) -> None:
    columns = [list(column) for column in zip(*messages, strict=True)]
    with transaction(ALIAS):
        changed(ALIAS, _WRITE, [order_id, user_id, template, *columns])


def inbox(user_id: UUID) -> QuerySet:
    """What somebody was told in the app."""
    mine = Message.objects.filter(user_id=user_id, channel="in_app")
    return mine.values("id", "template", "text", "order_id", "created_at", "read_at")


def mark_read(message_id: UUID, *, user_id: UUID) -> None:
    """Note when its owner first read a message. Raises MessageNotFound, for somebody else's too."""
    with transaction(ALIAS):
        mine = changed(
            ALIAS,
            """UPDATE notifications_message SET read_at = coalesce(read_at, now())
               WHERE id = %s AND user_id = %s AND channel = 'in_app'""",
            [message_id, user_id],
        )
        if not mine:
            raise MessageNotFound


def send_again(message_id: UUID, *, actor: str) -> None:
    """Let a failed message be tried once more, under the Message-ID that it had. Raises NotFailed."""
    with transaction(ALIAS):
        again = changed(
            ALIAS,
            """UPDATE notifications_message SET status = 'waiting', reason = '', due_at = now()
               WHERE id = %s AND status = 'failed'""",
            [message_id],
        )
        if not again:
            raise NotFailed
        audit(ALIAS, actor=actor, action="send again", object_type="message", object_id=message_id)
