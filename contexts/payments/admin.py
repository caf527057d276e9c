"""Admin of payments."""

from typing import cast
from uuid import UUID

from django import forms
from django.contrib import admin
from django.contrib.admin.helpers import ActionForm
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest

from contexts.payments.interface import Attention
from contexts.payments.models import LedgerEntry, Payment, Refund
from contexts.payments.service import captures, refunds, tasks
from shop.admin.context_admin import ContextAdmin, apply_to_each
from shop.http.tokens import Caller


def _get_caller(request: HttpRequest) -> Caller:
    """Return the signed-in member of staff, whom the admin site's middleware has authenticated."""
    return cast(Caller, request.user)


class ReadOnlyMoneyAdmin(ContextAdmin):
    """Show a table of payments. Rows are never edited; actions refund and synchronize payments."""

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return any(
            _get_caller(request).has_perm(f"payments.{right}") for right in ("view", "change", "refund", "capture")
        )


class PaymentActionForm(ActionForm):
    """The choice of an action, with the reason that some of them ask for."""

    reason = forms.CharField(
        required=False, max_length=200, label="Reason", help_text="To mark as refunded or to accept: how and why."
    )


class AttentionFilter(admin.SimpleListFilter):
    """Filter payments that staff have to decide about."""

    title = "needs a decision"
    parameter_name = "task"

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return [("open", "yes"), *((reason.value, reason.value.replace("_", " ")) for reason in Attention)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Payment]) -> QuerySet[Payment]:
        if self.value() == "open":
            return queryset.exclude(attention="")
        return queryset.filter(attention=self.value()) if self.value() else queryset


@admin.register(Payment)
class PaymentAdmin(ReadOnlyMoneyAdmin):
    amounts = ("amount", "authorized", "captured", "refunded", "pending", "refunded_elsewhere", "waived", "disputed")
    list_display = (
        "id",
        "order_id",
        "status",
        "attention",
        "amount",
        "refunded",
        "dispute",
        "provider",
        "reason",
        "created_at",
    )
    list_filter = (AttentionFilter, "status", "dispute", "provider", "currency", "created_at")
    search_fields = ("order_id", "id", "reference")
    search_help_text = "Order id, payment id, or the payment's reference at its provider."
    ordering = ("-id",)
    actions = ("refund_in_full", "capture", "sync_with_provider", "retry", "mark_refunded", "accept")
    action_form = PaymentActionForm
    exclude = ("token",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Payment], search_term: str
    ) -> tuple[QuerySet[Payment], bool]:
        """Search for exact ids only, so that an index serves every search."""
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            return queryset.filter(Q(order_id=UUID(term)) | Q(id=UUID(term))), False
        except ValueError:
            return queryset.filter(reference=term), False

    def has_refund_permission(self, request: HttpRequest) -> bool:
        return _get_caller(request).has_perm("payments.refund")

    def has_capture_permission(self, request: HttpRequest) -> bool:
        return _get_caller(request).has_perm("payments.capture")

    @admin.action(description="Refund in full", permissions=["refund"])
    def refund_in_full(self, request: HttpRequest, queryset: QuerySet[Payment]) -> None:
        actor = _get_caller(request).get_username()

        def refund(row: Payment) -> None:
            refunds.refund(payment_id=row.id, amount=None, reason="Refunded in full by staff.", actor=actor, key=None)

        apply_to_each(self, request, queryset, refund, "refund started")

    @admin.action(description="Synchronize with the provider", permissions=["view"])
    def sync_with_provider(self, request: HttpRequest, queryset: QuerySet[Payment]) -> None:
        actor = _get_caller(request).get_username()
        apply_to_each(
            self, request, queryset, lambda row: refunds.sync_now(payment_id=row.id, actor=actor), "synchronized"
        )

    @admin.action(description="Capture, also after a refusal", permissions=["capture"])
    def capture(self, request: HttpRequest, queryset: QuerySet[Payment]) -> None:
        actor = _get_caller(request).get_username()
        apply_to_each(
            self, request, queryset, lambda row: captures.capture(payment_id=row.id, actor=actor), "capture started"
        )

    @admin.action(description="Retry what the provider refused", permissions=["refund"])
    def retry(self, request: HttpRequest, queryset: QuerySet[Payment]) -> None:
        actor = _get_caller(request).get_username()
        apply_to_each(self, request, queryset, lambda row: tasks.retry(payment_id=row.id, actor=actor), "retried")

    @admin.action(description="Mark as refunded by other means (with a reason)", permissions=["refund"])
    def mark_refunded(self, request: HttpRequest, queryset: QuerySet[Payment]) -> None:
        actor, reason = _get_caller(request).get_username(), request.POST.get("reason", "")
        apply_to_each(
            self,
            request,
            queryset,
            lambda row: tasks.mark_refunded(payment_id=row.id, reason=reason, actor=actor),
            "marked as refunded",
        )

    @admin.action(description="Accept as it is (with a reason)", permissions=["refund"])
    def accept(self, request: HttpRequest, queryset: QuerySet[Payment]) -> None:
        actor, reason = _get_caller(request).get_username(), request.POST.get("reason", "")
        apply_to_each(
            self,
            request,
            queryset,
            lambda row: tasks.accept(payment_id=row.id, reason=reason, actor=actor),
            "accepted",
        )


@admin.register(Refund)
class RefundAdmin(ReadOnlyMoneyAdmin):
    amounts = ("amount",)
    currency_field = "payment__currency"
    list_display = ("id", "payment_id", "amount", "status", "cause", "reason", "actor", "at")
    list_filter = ("status", "cause", "at")
    search_fields = ("payment__order_id", "payment__id", "actor")
    list_select_related = ("payment",)
    ordering = ("-id",)


@admin.register(LedgerEntry)
class LedgerEntryAdmin(ReadOnlyMoneyAdmin):
    amounts = ("amount",)
    list_display = ("id", "payment_id", "booking", "account", "amount", "at")
    list_filter = ("account", "currency", "at")
    search_fields = ("payment__order_id", "payment__id")
    ordering = ("-id",)
