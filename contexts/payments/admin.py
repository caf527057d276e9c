"""Admin of payments."""

from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID

from django import forms
from django.contrib import admin
from django.contrib.admin.helpers import ActionForm
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest

from contexts.payments.interface import PaymentStatus
from contexts.payments.models import LedgerEntry, Payment, Refund, RefundStatus, StaffTask
from contexts.payments.service import captures, refunds, tasks
from shop.admin.bulk_actions import Confirmation, bulk_action
from shop.admin.context_admin import ContextAdmin
from shop.admin.links import build_list_url, build_object_url
from shop.batch import Task
from shop.db.text_search import filter_by_found, normalize_term, parse_id
from shop.http.idempotency import Key
from shop.http.tokens import Caller
from shop.money import Money
from shop.text import format_count

MAX_REASON_LENGTH = 200
FIND_WORD_SQL = "SELECT id FROM payments_payment_search WHERE text LIKE %s"


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

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Search for the rows of a payment, by an id or a part of the order number."""
        term = normalize_term(search_term)
        if found_id := parse_id(term):
            return queryset.filter(Q(payment_id=found_id) | Q(payment__order_id=found_id)), False
        found = filter_by_found(Payment.objects.all(), FIND_WORD_SQL, term)
        return (queryset.filter(payment__in=found) if term else queryset), False


WAYS_ON = (
    "Under Actions, retry it once the provider allows it, mark it as refunded if the money was paid back by other means, or "
    "accept it as it is."
)


class PaymentActionForm(ActionForm):
    """The choice of an action, with the reason that some actions require."""

    reason = forms.CharField(
        required=False,
        max_length=MAX_REASON_LENGTH,
        label="Reason",
        help_text="To mark as refunded or to accept: how and why.",
    )


class AttentionFilter(admin.SimpleListFilter):
    """Filter payments that staff have to decide about."""

    title = "needs a decision"
    parameter_name = "task"

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return [("open", "yes"), *((reason.value, reason.value.replace("_", " ")) for reason in StaffTask)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Payment]) -> QuerySet[Payment]:
        if self.value() == "open":
            return queryset.exclude(attention="")
        return queryset.filter(attention=self.value()) if self.value() else queryset


def _get_refundable(row: Payment) -> int:
    """Return the amount, in minor units, that can still be refunded."""
    return row.refundable - row.pending


def _describe_payment(row: Payment) -> tuple[object, ...]:
    return (
        row.order_number or row.order_id,
        row.get_status_display(),
        Money(_get_refundable(row), row.currency),
        Money(row.captured, row.currency),
        Money(row.refunded, row.currency),
    )


def _sum_up_refunds(selected: Sequence[Payment]) -> list[str]:
    """Return the number of payments that will be refunded, the sum by currency, and the number of those that cannot be."""
    refundable = [row for row in selected if row.status == PaymentStatus.CAPTURED and _get_refundable(row)]
    lines = [f"{len(refundable)} of {format_count(len(selected), 'payment')} will be refunded."]
    for currency in sorted({row.currency for row in refundable}):
        total = sum(_get_refundable(row) for row in refundable if row.currency == currency)
        lines.append(f"{Money(total, currency)} will be refunded.")
    if len(refundable) < len(selected):
        lines.append(f"{len(selected) - len(refundable)} cannot be refunded and will not change.")
    return lines


@bulk_action(
    "payments.refund_in_full",
    "Refund in full",
    done="refund started",
    atomic=False,
    permissions=("refund",),
    confirmation=Confirmation(
        question="Refund these payments in full? The orders do not change: to release the stock, too, cancel an order.",
        columns=("Order", "Status", "To refund now", "Captured", "Refunded"),
        describe=_describe_payment,
        sum_up=_sum_up_refunds,
    ),
    get_argument=lambda row, request: f"{_get_refundable(row)} {row.currency}",
)
def refund_in_full(task: Task) -> None:
    """Refund the amount that was shown, so that another refund meanwhile is not overlooked."""
    shown, currency = task.argument.split()
    refunds.refund(
        payment_id=UUID(task.key),
        amount=Money(int(shown), currency) if int(shown) else None,
        reason="Refunded in full by staff.",
        actor=task.actor,
        key=Key(scope="bulk refund", key=str(task.operation_id), fingerprint=""),
    )


@bulk_action("payments.sync", "Synchronize with the provider", done="synchronized", atomic=False, permissions=("sync",))
def sync_with_provider(task: Task) -> None:
    refunds.sync_now(payment_id=UUID(task.key), actor=task.actor)


def _read_reason(row: Payment, request: HttpRequest) -> str:
    return request.POST.get("reason", "")[:MAX_REASON_LENGTH]


@bulk_action(
    "payments.capture",
    "Capture, also after a refusal",
    done="capture started",
    atomic=False,
    permissions=("capture",),
)
def capture(task: Task) -> None:
    captures.capture(payment_id=UUID(task.key), actor=task.actor)


@bulk_action("payments.retry", "Retry what the provider refused", done="retried", atomic=False, permissions=("refund",))
def retry(task: Task) -> None:
    tasks.retry(payment_id=UUID(task.key), actor=task.actor)


@bulk_action(
    "payments.mark_refunded",
    "Mark as refunded by other means (with a reason)",
    done="marked as refunded",
    atomic=False,
    permissions=("refund",),
    get_argument=_read_reason,
)
def mark_refunded(task: Task) -> None:
    tasks.mark_refunded(payment_id=UUID(task.key), reason=task.argument, actor=task.actor)


@bulk_action(
    "payments.accept",
    "Accept as it is (with a reason)",
    done="accepted",
    atomic=False,
    permissions=("refund",),
    get_argument=_read_reason,
)
def accept(task: Task) -> None:
    tasks.accept(payment_id=UUID(task.key), reason=task.argument, actor=task.actor)


@admin.register(Payment)
class PaymentAdmin(ReadOnlyMoneyAdmin):
    amounts = (
        "amount",
        "authorized",
        "captured",
        "capturing",
        "refunded",
        "pending",
        "refunded_elsewhere",
        "owed",
        "waived",
        "disputed",
    )
    list_display = (
        "order_number",
        "status",
        "attention",
        "amount",
        "refunded",
        "dispute",
        "provider",
        "reason",
        "created_at",
        "order_id",
    )
    list_filter = (AttentionFilter, "status", "dispute", "provider", "currency", "created_at")
    links = {"order_id": ("orders", "order"), "customer_id": ("users", "user")}
    search_fields = ("order_number",)  # shows the search box; `get_search_results` searches
    search_help_text = "A part of the order number; the reference at the provider; or the id of payment or order."
    ordering = ("-id",)
    actions = (refund_in_full, capture, sync_with_provider, retry, mark_refunded, accept)
    action_form = PaymentActionForm
    exclude = ("token", "next_token")
    readonly_fields = ("refused_refund",)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "order_number",
                    "order_id",
                    "customer_id",
                    "status",
                    "attention",
                    "refused_refund",
                    "reason",
                    "created_at",
                )
            },
        ),
        ("Amounts", {"fields": amounts}),
        ("Provider", {"fields": ("provider", "reference", "action_url", "dispute", "next_provider", "refunds_failed")}),
        (
            "Processing",
            {
                "fields": (
                    "id",
                    "cancel_wanted",
                    "capture_attempts",
                    "refund_id",
                    "next_attempt",
                    "check_at",
                    "checked_at",
                    "due_at",
                    "lease_until",
                )
            },
        ),
    )

    @admin.display(description="Last refund", empty_value="-")
    def refused_refund(self, row: Payment) -> str | None:
        """Say why the provider refused the last refund, and what staff can do."""
        last = row.refunds.order_by("-id").first()
        if last is None or last.status != RefundStatus.REFUSED:
            return None
        amount = Money(last.amount, row.currency)
        way_on = WAYS_ON if row.attention == StaffTask.REFUND_REFUSED else "Actions can refund it again."
        return f"The provider refused {amount} at {last.at:%Y-%m-%d %H:%M} UTC: {last.refusal}. {way_on}"

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Payment], search_term: str
    ) -> tuple[QuerySet[Payment], bool]:
        """Search by a part of the order number, the exact reference, or an id, so that an index serves every search."""
        term = normalize_term(search_term)
        if found_id := parse_id(term):
            return queryset.filter(Q(order_id=found_id) | Q(id=found_id)), False
        found = filter_by_found(queryset, FIND_WORD_SQL, term)
        return (found | queryset.filter(reference=term) if term else queryset), False

    def get_related_links(self, obj: Payment) -> list[tuple[str, str]]:
        pages = [
            ("Actions", build_list_url("payments", "payment", q=obj.pk)),
            ("Order", build_object_url("orders", "order", obj.order_id)),
            ("Refunds", build_list_url("payments", "refund", payment__id__exact=obj.pk)),
            ("Ledger", build_list_url("payments", "ledgerentry", payment__id__exact=obj.pk)),
            ("Messages", build_list_url("notifications", "message", q=obj.order_id)),
        ]
        if obj.customer_id:
            pages.append(("Customer", build_object_url("users", "user", obj.customer_id)))
        return pages

    def has_sync_permission(self, request: HttpRequest) -> bool:
        return any(_get_caller(request).has_perm(f"payments.{right}") for right in ("change", "refund", "capture"))

    def has_refund_permission(self, request: HttpRequest) -> bool:
        return _get_caller(request).has_perm("payments.refund")

    def has_capture_permission(self, request: HttpRequest) -> bool:
        return _get_caller(request).has_perm("payments.capture")


@admin.register(Refund)
class RefundAdmin(ReadOnlyMoneyAdmin):
    amounts = ("amount",)
    currency_field = "payment__currency"
    list_display = ("id", "payment_id", "amount", "status", "cause", "reason", "actor", "at")
    list_filter = ("status", "cause", "at")
    linked_lookups = ("payment__id__exact",)
    links = {"payment_id": ("payments", "payment")}
    fieldsets = (
        (None, {"fields": ("payment", "amount", "status", "refusal", "cause", "reason", "actor", "at")}),
        ("Request", {"fields": ("id", "key")}),
    )
    search_fields = ("payment__order_number",)
    search_help_text = "A part of the order number; or the id of payment or order."
    list_select_related = ("payment",)
    ordering = ("-id",)


@admin.register(LedgerEntry)
class LedgerEntryAdmin(ReadOnlyMoneyAdmin):
    amounts = ("amount",)
    list_display = ("id", "payment_id", "booking", "account", "amount", "at")
    list_filter = ("account", "currency", "at")
    linked_lookups = ("payment__id__exact",)
    links = {"payment_id": ("payments", "payment")}
    search_fields = ("payment__order_number",)
    search_help_text = "A part of the order number; or the id of payment or order."
    ordering = ("-id",)
