"""Admin of orders: find and read orders, request a cancellation, resume a checkout."""

from collections.abc import Sequence
from typing import cast
from uuid import UUID

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from contexts.orders.models import Cart, Order
from contexts.orders.service import orders
from contexts.orders.service.cancellation import NotCancellable
from contexts.orders.service.payment_amounts import compute_payment_amounts, get_summary
from contexts.orders.service.search import search_orders
from contexts.orders.service.views import build_refusal, to_timeline
from contexts.payments.interface import PaymentStatus
from shop.admin.bulk_actions import Confirmation, bulk_action
from shop.admin.context_admin import ContextAdmin
from shop.admin.links import build_list_url, build_object_url
from shop.batch import Task
from shop.http.tokens import Caller
from shop.money import Money
from shop.text import format_count

ADDRESS_FIELDS = ("name", "company", "line1", "line2", "postal_code", "city", "region", "country", "phone")

HAS_FAILED_REFUND = Q(payment_summary__refunds__contains=[{"failed": True}])


class PaymentFilter(admin.SimpleListFilter):
    """Filter orders by what happened to their payment after the checkout."""

    title = "refunds and disputes"
    parameter_name = "payment"
    FILTERS = {
        "partially_refunded": (
            "partially refunded",
            Q(payment_summary__refunded__gt=0) & ~Q(payment_summary__status="refunded") & ~Q(payment_status="refunded"),
        ),
        "refunded": (
            "refunded",
            Q(payment_summary__status="refunded") | (Q(payment_status="refunded") & ~HAS_FAILED_REFUND),
        ),
        "disputed": ("disputed", Q(payment_summary__dispute="open")),
        "attention": ("needs a decision", Q(payment_summary__attention__gt="")),
    }

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return [(value, label) for value, (label, _) in self.FILTERS.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Order]) -> QuerySet[Order]:
        chosen = self.FILTERS.get(self.value() or "")
        return queryset.filter(chosen[1]) if chosen else queryset


class ReportedStatusFilter(admin.SimpleListFilter):
    """Filter orders by the last status of their payment that payments has reported."""

    title = "status reported by payments"
    parameter_name = "payment_status"

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return [(status.value, status.replace("_", " ")) for status in PaymentStatus]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Order]) -> QuerySet[Order]:
        return queryset.filter(payment_status=self.value()) if self.value() else queryset


def _describe_order(order: Order) -> tuple[object, ...]:
    return (
        order.number,
        order.email,
        order.get_status_display(),
        compute_payment_amounts(order).payment_status.replace("_", " "),
        Money(order.total, order.currency),
    )


def _sum_up_orders(selected: Sequence[Order]) -> list[str]:
    """Return the number of orders that will be cancelled, their total, and the number of those that cannot be."""
    cancellable = [order for order in selected if order.status in Order.CANCELLABLE_STATUSES]
    lines = [f"{len(cancellable)} of {format_count(len(selected), 'order')} will be cancelled."]
    for currency in sorted({order.currency for order in cancellable}):
        total = sum(order.total for order in cancellable if order.currency == currency)
        lines.append(f"Their total is {Money(total, currency)}.")
    if len(cancellable) < len(selected):
        lines.append(f"{len(selected) - len(cancellable)} can no longer be cancelled and will not change.")
    return lines


def _describe_request(order: Order, request: HttpRequest) -> str:
    """Return the status that is confirmed, and whether the caller may give money back."""
    can_refund = cast(Caller, request.user).has_perm("payments.refund")
    return f"{order.status} refund" if can_refund else order.status


@bulk_action(
    "orders.cancel",
    "Cancel orders (voids or refunds the payment, releases the stock)",
    permissions=("change",),
    done="cancel requested",
    atomic=False,
    confirmation=Confirmation(
        question="Cancel these orders? Payments are voided or refunded, stock is released, and customers are notified. Orders "
        "that are paid need the permission payments.refund.",
        columns=("Order", "E-mail address", "Status", "Payment", "Total"),
        describe=_describe_order,
        sum_up=_sum_up_orders,
    ),
    get_argument=_describe_request,
)
def request_cancel(task: Task) -> None:
    """Request the cancellation of an order, unless the page that was confirmed shows that it cannot be cancelled."""
    status, _, right = task.argument.partition(" ")
    if status and status not in Order.CANCELLABLE_STATUSES:
        raise NotCancellable(present=status)
    orders.request_cancel(UUID(task.key), actor=task.actor, can_refund=right == "refund")


@bulk_action("orders.resume", "Resume checkout", permissions=("change",), done="checkout resumed", atomic=False)
def resume_checkout(task: Task) -> None:
    orders.resume_for_staff(UUID(task.key), actor=task.actor)


@admin.register(Order)
class OrderAdmin(ContextAdmin):
    list_display = ("number", "email", "status", "step", "amount", "payment_state", "refunded", "created_at")
    list_filter = ("status", PaymentFilter, "step", ReportedStatusFilter, "created_at")
    links = {"user_id": ("users", "user"), "payment_id": ("payments", "payment")}
    search_fields = ("number",)  # shows the search box; `search_orders` searches
    search_help_text = "Parts of number, e-mail address, name or SKU; or the id of an order or customer."
    date_hierarchy = "created_at"
    actions = (request_cancel, resume_checkout)
    readonly_fields = (
        "amount",
        "payment_state",
        "refunded",
        "payment_task",
        "reported_status",
        "refusal_text",
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
                    "reported_status",
                    "payment_id",
                    "refusal_text",
                )
            },
        ),
        (
            "Checkout",
            {"fields": ("step", "tries", "attempt", "due_at", "lease_until", "expires_at", "cancel_requested_at")},
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Order]:
        return super().get_queryset(request).select_related("payment_summary")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Order], search_term: str
    ) -> tuple[QuerySet[Order], bool]:
        return search_orders(queryset, search_term), False

    def get_related_links(self, obj: Order) -> list[tuple[str, str]]:
        pages = [
            ("Actions", build_list_url("orders", "order", q=obj.pk)),
            ("Payment", build_list_url("payments", "payment", q=obj.pk)),
            ("Reservation", build_object_url("inventory", "reservation", obj.pk)),
            ("Messages", build_list_url("notifications", "message", q=obj.pk)),
        ]
        return [*pages, ("Customer", build_object_url("users", "user", obj.user_id))] if obj.user_id else pages

    @admin.display(description="Total", ordering="total")
    def amount(self, order: Order) -> str:
        return str(Money(order.total, order.currency))

    @admin.display(description="Payment status")
    def payment_state(self, order: Order) -> str:
        return compute_payment_amounts(order).payment_status.replace("_", " ")

    @admin.display(description="Refunded")
    def refunded(self, order: Order) -> str:
        refunded = compute_payment_amounts(order).refunded
        return str(Money(refunded, order.currency)) if refunded else "-"

    @admin.display(description="Payment needs a decision")
    def payment_task(self, order: Order) -> str:
        summary = get_summary(order)
        return summary.attention.replace("_", " ") if summary and summary.attention else "-"

    @admin.display(description="Reported by payments")
    def reported_status(self, order: Order) -> str:
        return order.payment_status.replace("_", " ") or "-"

    @admin.display(description="Why it was rejected")
    def refusal_text(self, order: Order) -> str:
        refusal = build_refusal(order)
        return str(refusal) if refusal else "-"

    @admin.display(description="Lines")
    def line_list(self, order: Order) -> SafeString:
        lines = ((n.quantity, n.name, n.sku, Money(n.total, n.currency or order.currency)) for n in order.lines.all())
        return format_html_join("", "<div>{} × {} ({}): {}</div>", lines)

    @admin.display(description="Timeline")
    def timeline_list(self, order: Order) -> SafeString:
        entries = ((f"{e.at:%Y-%m-%d %H:%M:%S}", e.text, e.context) for e in to_timeline(order))
        return format_html_join("", "<div>{} {} <em>{}</em></div>", entries)

    @admin.display(description="Shipping address")
    def address_text(self, order: Order) -> str:
        parts = (order.shipping_address.get(part) for part in ADDRESS_FIELDS)
        return ", ".join(part for part in parts if part)


@admin.register(Cart)
class CartAdmin(ContextAdmin):
    list_display = ("id", "user_id", "version", "created_at")
    links = {"user_id": ("users", "user")}
    search_fields = ("id__exact", "user_id__exact")
    search_help_text = "The id of a cart or of its customer."
    date_hierarchy = "created_at"
    readonly_fields = ("contents",)

    @admin.display(description="Contents")
    def contents(self, cart: Cart) -> str:
        return ", ".join(str(item) for item in cart.items.order_by("id")) or "-"
