"""Admin of orders: find and read orders, request a cancellation, resume a checkout."""

import json

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from contexts.orders.models import Cart, Order
from contexts.orders.service import orders
from contexts.orders.service.payment_amounts import compute_payment_amounts, get_summary
from contexts.orders.service.views import to_timeline
from shop.admin.context_admin import ContextAdmin, apply_to_each
from shop.money import Money

ADDRESS_FIELDS = ("name", "company", "line1", "line2", "postal_code", "city", "region", "country", "phone")


class PaymentFilter(admin.SimpleListFilter):
    """Filter orders by what happened to their payment after the checkout."""

    title = "refunds and disputes"
    parameter_name = "payment"
    FILTERS = {
        "partially_refunded": (
            "partially refunded",
            Q(payment_summary__refunded__gt=0) & ~Q(payment_summary__status="refunded") & ~Q(payment_status="refunded"),
        ),
        "refunded": ("refunded", Q(payment_summary__status="refunded") | Q(payment_status="refunded")),
        "disputed": ("disputed", Q(payment_summary__dispute="open")),
        "attention": ("needs a decision", Q(payment_summary__attention__gt="")),
    }

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return [(value, label) for value, (label, _) in self.FILTERS.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Order]) -> QuerySet[Order]:
        chosen = self.FILTERS.get(self.value() or "")
        return queryset.filter(chosen[1]) if chosen else queryset


@admin.register(Order)
class OrderAdmin(ContextAdmin):
    list_display = ("number", "email", "status", "step", "amount", "payment_state", "refunded", "created_at")
    list_filter = ("status", PaymentFilter, "step", "payment_status", "created_at")
    list_select_related = ("payment_summary",)
    search_fields = ("number__exact", "email__exact", "id__exact")
    search_help_text = "Number, e-mail address or id, in full."
    date_hierarchy = "created_at"
    actions = ("request_cancel", "resume_checkout")
    readonly_fields = (
        "amount",
        "payment_state",
        "refunded",
        "payment_task",
        "line_list",
        "timeline_list",
        "address_text",
    )
    fieldsets = (
        (
            None,
            {"fields": ("number", "status", "email", "user_id", "created_at", "amount", "line_list", "address_text")},
        ),
        ("Timeline", {"fields": ("timeline_list",)}),
        (
            "Payment",
            {
                "fields": (
                    "payment_provider",
                    "payment_state",
                    "refunded",
                    "payment_task",
                    "payment_status",
                    "payment_id",
                    "refusal",
                )
            },
        ),
        (
            "Checkout",
            {"fields": ("step", "tries", "attempt", "due_at", "lease_until", "expires_at", "cancel_requested_at")},
        ),
    )

    @admin.display(description="Total", ordering="total")
    def amount(self, order: Order) -> str:
        return str(Money(order.total, order.currency))

    @admin.display(description="Payment")
    def payment_state(self, order: Order) -> str:
        return compute_payment_amounts(order).payment_status.replace("_", " ")

    @admin.display(description="Refunded")
    def refunded(self, order: Order) -> str:
        refunded = compute_payment_amounts(order).refunded
        return str(Money(refunded, order.currency)) if refunded else ""

    @admin.display(description="Payment needs a decision")
    def payment_task(self, order: Order) -> str:
        summary = get_summary(order)
        return summary.attention.replace("_", " ") if summary else ""

    @admin.display(description="Lines")
    def line_list(self, order: Order) -> SafeString:
        lines = ((n.quantity, n.name, n.sku, Money(n.total, n.currency or order.currency)) for n in order.lines.all())
        return format_html("<ul>{}</ul>", format_html_join("", "<li>{} × {} ({}): {}</li>", lines))

    @admin.display(description="Timeline")
    def timeline_list(self, order: Order) -> SafeString:
        entries = ((f"{e.at:%Y-%m-%d %H:%M:%S}", e.text, e.context) for e in to_timeline(order))
        return format_html("<ul>{}</ul>", format_html_join("", "<li>{} {} <em>{}</em></li>", entries))

    @admin.display(description="Shipping address")
    def address_text(self, order: Order) -> str:
        parts = (order.shipping_address.get(part) for part in ADDRESS_FIELDS)
        return ", ".join(part for part in parts if part)

    @admin.action(
        description="Cancel orders (voids or refunds the payment, releases the stock)", permissions=["change"]
    )
    def request_cancel(self, request: HttpRequest, queryset: QuerySet[Order]) -> None:
        actor = request.user.get_username()
        apply_to_each(
            self, request, queryset, lambda order: orders.request_cancel(order.pk, actor=actor), "cancel requested"
        )

    @admin.action(description="Resume checkout", permissions=["change"])
    def resume_checkout(self, request: HttpRequest, queryset: QuerySet[Order]) -> None:
        apply_to_each(self, request, queryset, lambda order: orders.resume(order.pk), "checkout resumed")


@admin.register(Cart)
class CartAdmin(ContextAdmin):
    list_display = ("id", "user_id", "version", "created_at")
    search_fields = ("id__exact", "user_id__exact")
    date_hierarchy = "created_at"
    readonly_fields = ("contents",)

    @admin.display(description="Contents")
    def contents(self, cart: Cart) -> str:
        return json.dumps(dict(cart.items.values_list("sku", "quantity")))
