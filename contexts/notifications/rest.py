"""HTTP of notifications: the customer's inbox."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec
from django.http import HttpResponse
from django.urls import path
from rest_framework.request import Request

from contexts.notifications.service import messages
from shop import rest
from shop.rest import CUSTOMER, Page, PageQuery, View, endpoint, respond

Kind = Literal["order_confirmed", "order_rejected", "order_cancelled", "order_put_on_hold", "welcome"]


class NotificationView(msgspec.Struct, kw_only=True):
    """A message in the customer's inbox."""

    id: UUID
    kind: Kind
    text: str
    order_id: UUID | None
    created_at: datetime
    read_at: datetime | None


class NotificationsView(View):
    context = "notifications"


class Inbox(NotificationsView):
    @endpoint(who=CUSTOMER, query=PageQuery, answers={200: Page[NotificationView]})
    def get(self, request: Request, query: PageQuery) -> Page[NotificationView]:
        """My messages, the latest first."""
        return rest.page(request, messages.inbox(request.user.id), ordering=("-id",), to_view=_to_views)


class Read(NotificationsView):
    @endpoint(who=CUSTOMER, answers={204: None})
    def post(self, request: Request, message_id: UUID) -> HttpResponse:
        """Mark one of my messages as read. A repeat changes nothing."""
        messages.mark_read(message_id, user_id=request.user.id)
        return respond(None, 204)


def _to_views(rows: list[dict[str, Any]]) -> list[NotificationView]:
    return [
        NotificationView(
            id=row["id"],
            kind=row["template"],
            text=row["text"],
            order_id=row["order_id"],
            created_at=row["created_at"],
            read_at=row["read_at"],
        )
        for row in rows
    ]


urlpatterns = [
    path("notifications", Inbox.as_view(), name="inbox"),
    path("notifications/<uuid:message_id>/read", Read.as_view(), name="read"),
]
