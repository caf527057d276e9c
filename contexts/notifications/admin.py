"""Admin of notifications."""

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from contexts.notifications.models import Message
from contexts.notifications.service import messages
from shop.admin import ContextAdmin, each


@admin.register(Message)
class MessageAdmin(ContextAdmin):
    """Who was told what, and what could not be sent."""

    list_display = ("created_at", "template", "channel", "status", "order_id", "user_id", "sent_at", "reason")
    list_filter = ("status", "channel", "template")
    search_fields = ("subject_id",)
    search_help_text = "The id of an order or of a user."
    ordering = ("-id",)
    actions = ("send_again",)

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> tuple[QuerySet, bool]:
        """By exact id, through the index; what is no id finds nothing."""
        if not search_term:
            return queryset, False
        try:
            return queryset.filter(subject_id=UUID(search_term.strip())), False
        except ValueError:
            return queryset.none(), False

    @admin.action(description="Send again (failed ones)", permissions=["change"])
    def send_again(self, request: HttpRequest, queryset: QuerySet) -> None:
        actor = request.user.get_username()

        def do(message: Any) -> None:
            messages.send_again(message.id, actor=actor)

        each(self, request, queryset, do, "will be sent again")
