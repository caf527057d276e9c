"""Messages as the REST API shows them."""

from collections.abc import Iterable
from datetime import datetime
from typing import TypedDict
from uuid import UUID

import msgspec

from contexts.notifications.interface import MessageTemplate


class InboxRow(TypedDict):
    """The columns of a message that the inbox shows."""

    id: UUID
    template: str
    text: str
    order_id: UUID | None
    created_at: datetime
    read_at: datetime | None


class NotificationView(msgspec.Struct, kw_only=True):
    """A message in the customer's inbox."""

    id: UUID
    kind: MessageTemplate
    text: str
    order_id: UUID | None
    created_at: datetime
    read_at: datetime | None


def to_notification_views(rows: Iterable[InboxRow]) -> list[NotificationView]:
    """Convert rows of `messages.list_inbox`."""
    return [
        NotificationView(
            id=row["id"],
            kind=MessageTemplate(row["template"]),
            text=row["text"],
            order_id=row["order_id"],
            created_at=row["created_at"],
            read_at=row["read_at"],
        )
        for row in rows
    ]
