"""Admin of payments."""

from typing import cast
from uuid import UUID

from django.contrib import admin
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest

from contexts.payments.models import LedgerEntry, Payment, Refund
from contexts.payments.service import refunds
from shop.admin.context_admin import ContextAdmin, apply_to_each
from shop.http.tokens import Caller
from shop.money import Money


def _get_caller(request: HttpRequest) -> Caller:
    """Return the signed-in member of staff, whom the admin site's middleware has authenticated."""
    return cast(Caller, request.user)


class ReadOnlyMoneyAdmin(ContextAdmin):
    """Show a table of payments. Rows are never edited; actions refund and synchronize payments."""

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return any(_get_caller(request).has_perm(f"payments.{right}") for right in ("view", "change", "refund"))


@admin.register(Payment)
class PaymentAdmin(ReadOnlyMoneyAdmin):
    list_display = (
        "id",
        "order_id",
        "status",
        "amount_display",
        "refunded_display",
        "provider",
        "reason",
        "created_at",
    )
    list_filter = ("status", "provider", "currency", "created_at")
    search_fields = ("order_id", "id", "reference")
    search_help_text = "Order id, payment id, or the payment's reference at its provider."
    ordering = ("-id",)
    actions = ("refund_in_full", "sync_with_provider")
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

    @admin.display(description="amount", ordering="amount")
    def amount_display(self, row: Payment) -> str:
        return str(Money(row.amount, row.currency))

    @admin.display(description="refunded", ordering="refunded")
    def refunded_display(self, row: Payment) -> str:
        return str(Money(row.refunded, row.currency)) if row.refunded else ""

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


@admin.register(Refund)
class RefundAdmin(ReadOnlyMoneyAdmin):
    list_display = ("id", "payment_id", "amount", "status", "reason", "actor", "at")
    list_filter = ("status", "at")
    search_fields = ("payment__order_id", "payment__id", "actor")
    list_select_related = ("payment",)
    ordering = ("-id",)


@admin.register(LedgerEntry)
class LedgerEntryAdmin(ReadOnlyMoneyAdmin):
    list_display = ("id", "payment_id", "booking", "account", "amount", "currency", "at")
    list_filter = ("account", "currency", "at")
    search_fields = ("payment__order_id", "payment__id")
    ordering = ("-id",)
