"""REST API of notifications: the customer's inbox."""

from typing import cast
from uuid import UUID

from django.http import HttpResponse
from django.urls import path
from rest_framework.request import Request

from contexts.notifications.service import messages
from contexts.notifications.service.views import NotificationView, to_notification_views
from shop.http.pagination import Page, PageQuery, paginate
from shop.http.rest import CUSTOMER, View, endpoint, respond
from shop.http.tokens import Caller


def _get_caller(request: Request) -> Caller:
    """Return the caller of an endpoint that admits signed-in callers only."""
    return cast(Caller, request.user)


class NotificationsView(View):
    context = "notifications"


class Inbox(NotificationsView):
    @endpoint(access=CUSTOMER, query=PageQuery, responses={200: Page[NotificationView]})
    def get(self, request: Request, query: PageQuery) -> Page[NotificationView]:
        """Return the caller's messages, newest first."""
        rows = messages.list_inbox(_get_caller(request).id)
        return paginate(request, query, rows, ordering=("-id",), to_view=to_notification_views)


class Read(NotificationsView):
    @endpoint(access=CUSTOMER, responses={204: None}, errors=(messages.MessageNotFound,))
    def post(self, request: Request, message_id: UUID) -> HttpResponse:
        """Mark one of the caller's messages as read. A repeat changes nothing."""
        messages.mark_read(message_id, user_id=_get_caller(request).id)
        return respond(None, 204)


urlpatterns = [
    path("notifications", Inbox.as_view(), name="inbox"),
    path("notifications/<uuid:message_id>/read", Read.as_view(), name="read"),
]
