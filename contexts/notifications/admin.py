"""Admin of notifications."""

from uuid import UUID

from django import forms
from django.contrib import admin
from django.contrib.admin.helpers import ActionForm
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from contexts.notifications.interface import Channel
from contexts.notifications.models import Message
from contexts.notifications.service import messages
from contexts.orders.interface import orders
from shop.admin.bulk_actions import bulk_action
from shop.admin.context_admin import ContextAdmin
from shop.admin.links import build_object_url
from shop.batch import Task
from shop.db.text_search import normalize_term, parse_id


@bulk_action(
    "notifications.resend", "Resend failed or parked messages", permissions=("change",), done="will be sent again"
)
def resend(task: Task) -> None:
    messages.resend(UUID(task.key), actor=task.actor)


@bulk_action(
    "notifications.mark_as_sent", "Mark parked messages as sent", permissions=("change",), done="is marked as sent"
)
def mark_as_sent(task: Task) -> None:
    messages.mark_sent(UUID(task.key), actor=task.actor)


def _read_reason(message: Message, request: HttpRequest) -> str:
    return request.POST.get("reason", "")[: messages.MAX_REASON_LENGTH]


@bulk_action(
    "notifications.discard",
    "Discard failed or parked messages",
    permissions=("change",),
    done="will not be sent",
    get_argument=_read_reason,
)
def discard(task: Task) -> None:
    messages.discard(UUID(task.key), actor=task.actor, reason=task.argument)


class MessageActionForm(ActionForm):
    """The choice of an action, with the reason that discarding needs."""

    reason = forms.CharField(label="Reason to discard:", max_length=messages.MAX_REASON_LENGTH, required=False)


@admin.register(Message)
class MessageAdmin(ContextAdmin):
    """Show messages and their delivery status, and decide about failed and parked ones."""

    list_display = ("created_at", "template", "channel", "status", "order_id", "user_id", "sent_at", "reason")
    list_filter = ("status", "channel", "template")
    links = {"order_id": ("orders", "order"), "user_id": ("users", "user")}
    search_fields = ("subject_id",)  # shows the search box; `get_search_results` searches
    search_help_text = "Parts of an order's number, e-mail address, name or SKU; or the id of an order or user."
    fieldsets = (
        (None, {"fields": ("template", "channel", "status", "reason", "order_id", "user_id", "created_at", "sent_at")}),
        ("Content", {"fields": ("text", "read_at", "message_id")}),
        (
            "Processing",
            {"fields": ("id", "subject_id", "occurrence", "unknown_outcomes", "attempt", "due_at", "lease_until")},
        ),
    )
    ordering = ("-id",)
    actions = (resend, mark_as_sent, discard)
    action_form = MessageActionForm

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Message], search_term: str
    ) -> tuple[QuerySet[Message], bool]:
        """Search for the messages about an order or to a user. Messages have no text about the order: ask orders."""
        term = normalize_term(search_term)
        if not term:
            return queryset, False
        if found_id := parse_id(term):
            return queryset.filter(Q(subject_id=found_id) | Q(user_id=found_id, channel=Channel.IN_APP)), False
        return queryset.filter(subject_id__in=orders.search(term=term)), False

    def get_related_links(self, obj: Message) -> list[tuple[str, str]]:
        links = [("Order", build_object_url("orders", "order", obj.order_id))] if obj.order_id else []
        return [*links, ("Customer", build_object_url("users", "user", obj.user_id))] if obj.user_id else links
