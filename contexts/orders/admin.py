"""Admin of orders: to look things up, and to ask for what the checkout then carries out."""

import json
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from contexts.orders.models import Cart, Order
from contexts.orders.service import checkout
from shop.admin import ContextAdmin, each
from shop.money import Money

ADDRESS = ("name", "line1", "line2", "postal_code", "city", "region", "country")


@admin.register(Order)
class OrderAdmin(ContextAdmin):
    list_display = ("number", "email", "status", "step", "amount", "payment_status", "created_at")
    list_filter = ("status", "step", "payment_status", "created_at")
    search_fields = ("number__exact", "email__exact", "id__exact")
    search_help_text = "Number, e-mail address or id, in full."
    date_hierarchy = "created_at"
    actions = ("request_cancel", "carry_on")
    readonly_fields = ("amount", "items_ordered", "what_happened", "ship_to")
    fieldsets = (
        (None, {"fields": ("number", "status", "email", "user_id", "created_at", "amount", "items_ordered", "ship_to")}),
        ("What happened", {"fields": ("what_happened",)}),
        ("Payment", {"fields": ("payment_provider", "payment_status", "payment_id", "refusal")}),
        ("Checkout", {"fields": ("step", "tries", "attempt", "due_at", "lease_until", "expires_at", "cancel_requested_at")}),
    )

    @admin.display(description="Total", ordering="total")
    def amount(self, order: Order) -> str:
        return str(Money(order.total, order.currency))

    @admin.display(description="Lines")
    def items_ordered(self, order: Order) -> SafeString:
        lines = ((n.quantity, n.name, n.sku, Money(n.total, order.currency)) for n in order.lines.all())
        return format_html("<ul>{}</ul>", format_html_join("", "<li>{} × {} ({}): {}</li>", lines))

    @admin.display(description="Timeline")
    def what_happened(self, order: Order) -> SafeString:
        entries = ((e["at"][:19].replace("T", " "), e["text"], e["context"]) for e in order.timeline)
        return format_html("<ul>{}</ul>", format_html_join("", "<li>{} {} <em>{}</em></li>", entries))

    @admin.display(description="Sent to")
    def ship_to(self, order: Order) -> str:
        parts = (order.shipping_address.get(part) for part in ADDRESS)
        return ", ".join(part for part in parts if part)

    @admin.action(description="Cancel (money and stock go back)", permissions=["change"])
    def request_cancel(self, request: HttpRequest, orders: Any) -> None:
        actor = request.user.get_username()
        each(self, request, orders, lambda order: checkout.request_cancel(order.pk, actor=actor), "cancel requested")

    @admin.action(description="Look again now", permissions=["change"])
    def carry_on(self, request: HttpRequest, orders: Any) -> None:
        each(self, request, orders, lambda order: checkout.resume(order.pk), "looked at again")


@admin.register(Cart)
class CartAdmin(ContextAdmin):
    list_display = ("id", "user_id", "version", "created_at")
    search_fields = ("id__exact", "user_id__exact")
    date_hierarchy = "created_at"
    readonly_fields = ("contents",)

    @admin.display(description="Contents")
    def contents(self, cart: Cart) -> str:
        return json.dumps(dict(cart.items.values_list("sku", "quantity")))
