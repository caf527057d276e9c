"""Admin of notifications."""

from uuid import UUID

from django import forms
from django.contrib import admin
from django.contrib.admin.helpers import ActionForm
from django.db.models import QuerySet
from django.http import HttpRequest

from contexts.notifications.models import Message
from contexts.notifications.service import messages
from shop.admin.context_admin import ContextAdmin, apply_to_each


class MessageActionForm(ActionForm):
    """The choice of an action, with the reason that discarding needs."""

    reason = forms.CharField(label="Reason to discard:", max_length=messages.MAX_REASON_LENGTH, required=False)


@admin.register(Message)
class MessageAdmin(ContextAdmin):
    """Show messages and their delivery status, and decide about failed and parked ones."""

    list_display = ("created_at", "template", "channel", "status", "order_id", "user_id", "sent_at", "reason")
    list_filter = ("status", "channel", "template")
    search_fields = ("subject_id",)
    search_help_text = "Order id or user id."
    ordering = ("-id",)
    actions = ("resend", "mark_as_sent", "discard")
    action_form = MessageActionForm

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

    @admin.action(description="Resend failed or parked messages", permissions=["change"])
    def resend(self, request: HttpRequest, queryset: QuerySet[Message]) -> None:
        actor = request.user.get_username()
        apply_to_each(
            self, request, queryset, lambda message: messages.resend(message.id, actor=actor), "will be sent again"
        )

    @admin.action(description="Mark parked messages as sent", permissions=["change"])
    def mark_as_sent(self, request: HttpRequest, queryset: QuerySet[Message]) -> None:
        actor = request.user.get_username()
        apply_to_each(
            self, request, queryset, lambda message: messages.mark_sent(message.id, actor=actor), "is marked as sent"
        )

    @admin.action(description="Discard failed or parked messages", permissions=["change"])
    def discard(self, request: HttpRequest, queryset: QuerySet[Message]) -> None:
        actor, reason = request.user.get_username(), request.POST.get("reason", "")
        apply_to_each(
            self,
            request,
            queryset,
            lambda message: messages.discard(message.id, actor=actor, reason=reason),
            "will not be sent",
        )
