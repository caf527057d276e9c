"""Admin of notifications."""

from uuid import UUID

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from contexts.notifications.models import Message
from contexts.notifications.service import messages
from shop.admin.context_admin import ContextAdmin, apply_to_each


@admin.register(Message)
class MessageAdmin(ContextAdmin):
    """Show messages and their delivery status, and resend failed ones."""

    list_display = ("created_at", "template", "channel", "status", "order_id", "user_id", "sent_at", "reason")
    list_filter = ("status", "channel", "template")
    search_fields = ("subject_id",)
    search_help_text = "Order id or user id."
    ordering = ("-id",)
    actions = ("resend",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Message], search_term: str
    ) -> tuple[QuerySet[Message], bool]:
        """Search for an exact id, so that an index serves the search. Anything else finds nothing."""
        if not search_term:
            return queryset, False
        try:
            return queryset.filter(subject_id=UUID(search_term.strip())), False
        except ValueError:
            return queryset.none(), False

    @admin.action(description="Resend failed messages", permissions=["change"])
    def resend(self, request: HttpRequest, queryset: QuerySet[Message]) -> None:
        actor = request.user.get_username()
        apply_to_each(
            self, request, queryset, lambda message: messages.resend(message.id, actor=actor), "will be sent again"
        )
