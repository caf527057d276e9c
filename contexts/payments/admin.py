"""Admin of payments."""

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from contexts.payments.models import LedgerEntry, Payment, Refund
from contexts.payments.service import refunds
from shop.admin import ContextAdmin, each
from shop.money import Money


class BooksAdmin(ContextAdmin):
    """Money is never edited: what there is to do with it are actions."""

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return any(request.user.has_perm(f"payments.{right}") for right in ("view", "change", "refund"))


@admin.register(Payment)
class PaymentAdmin(BooksAdmin):
    list_display = ("id", "order_id", "status", "money", "given_back", "provider", "reason", "created_at")
    list_filter = ("status", "provider", "currency", "created_at")
    search_fields = ("order_id", "id", "reference")
    search_help_text = "The id of an order or a payment, or the provider's reference."
    ordering = ("-id",)
    actions = ("refund_in_full", "look_at_the_provider")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """All but the token, which is nobody's to see."""
        return [name for name in super().get_fields(request, obj) if name != "token"]

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, term: str) -> tuple[QuerySet, bool]:
        """Exactly, by index."""
        if not term:
            return queryset, False
        try:
            return queryset.filter(Q(order_id=UUID(term.strip())) | Q(id=UUID(term.strip()))), False
        except ValueError:
            return queryset.filter(reference=term.strip()), False

    def has_refund_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("payments.refund")

    @admin.display(description="amount", ordering="amount")
    def money(self, row: Payment) -> str:
        return str(Money(row.amount, row.currency))

    @admin.display(description="refunded", ordering="refunded")
    def given_back(self, row: Payment) -> str:
        return str(Money(row.refunded, row.currency)) if row.refunded else ""

    @admin.action(description="Refund in full", permissions=["refund"])
    def refund_in_full(self, request: HttpRequest, queryset: QuerySet) -> None:
        actor = request.user.get_username()

        def give_back(row: Payment) -> None:
            refunds.refund(payment_id=row.id, amount=None, reason="Refunded in full by staff.", actor=actor, key=None)

        each(self, request, queryset, give_back, "refund begun")

    @admin.action(description="Look at the provider now", permissions=["view"])
    def look_at_the_provider(self, request: HttpRequest, queryset: QuerySet) -> None:
        actor = request.user.get_username()
        each(self, request, queryset, lambda row: refunds.look_now(payment_id=row.id, actor=actor), "looked at")


@admin.register(Refund)
class RefundAdmin(BooksAdmin):
    list_display = ("id", "payment_id", "amount", "status", "reason", "actor", "at")
    list_filter = ("status", "at")
    search_fields = ("payment__order_id", "payment__id", "actor")
    list_select_related = ("payment",)
    ordering = ("-id",)


@admin.register(LedgerEntry)
class LedgerEntryAdmin(BooksAdmin):
    list_display = ("id", "payment_id", "booking", "account", "amount", "currency", "at")
    list_filter = ("account", "currency", "at")
    search_fields = ("payment__order_id", "payment__id")
    ordering = ("-id",)
