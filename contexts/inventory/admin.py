"""Admin of inventory."""

from collections.abc import Callable
from typing import ClassVar
from uuid import UUID

from django import forms
from django.conf import settings
from django.contrib import admin
from django.db.models import F, Model, OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest

from contexts.inventory.models import (
    Category,
    Product,
    Reservation,
    ReservationLine,
    Stock,
    StockMovement,
    Variant,
)
from contexts.inventory.service import catalogue_editing, stock
from shop.admin.bulk_actions import bulk_action
from shop.admin.context_admin import ContextAdmin
from shop.admin.links import build_list_url, build_object_url
from shop.admin.money import AmountField, ConfirmedAmountForm
from shop.admin.submissions import read_version
from shop.batch import Task
from shop.db import text_search
from shop.money import Money


class CatalogueAdmin(ContextAdmin):
    """Base of the catalogue's tables. Rows are added and edited through the service."""

    can_add = True
    add: ClassVar[Callable[..., Model]]
    edit: ClassVar[Callable[..., None]]

    def get_version(self, obj: Category | Product | Variant) -> str:
        return catalogue_editing.get_version(obj)

    def save_through_service(self, request: HttpRequest, obj: Model, form: forms.ModelForm, change: bool) -> None:
        actor = request.user.get_username()
        if change:
            changed = {name: form.cleaned_data[name] for name in form.changed_data}
            type(self).edit(obj.pk, actor=actor, expected_version=read_version(request), **changed)
        else:
            obj.pk = type(self).add(actor=actor, **form.cleaned_data).pk


@admin.register(Category)
class CategoryAdmin(CatalogueAdmin):
    """Categories."""

    add, edit = staticmethod(catalogue_editing.create_category), staticmethod(catalogue_editing.update_category)
    fields = ("slug", "name", "description", "position")
    editable = ("name", "description", "position")
    list_display = ("name", "slug", "position")
    search_fields = ("name", "slug")
    ordering = ("position", "slug")


@bulk_action("inventory.take_off_sale", "Take off sale", permissions=("change",), done="off sale")
def take_off_sale(task: Task) -> None:
    catalogue_editing.update_product(UUID(task.key), actor=task.actor, is_active=False)


@bulk_action("inventory.put_on_sale", "Put on sale", permissions=("change",), done="on sale")
def put_on_sale(task: Task) -> None:
    catalogue_editing.update_product(UUID(task.key), actor=task.actor, is_active=True)


@admin.register(Product)
class ProductAdmin(CatalogueAdmin):
    """Products. Prices and stock belong to their variants."""

    add, edit = staticmethod(catalogue_editing.create_product), staticmethod(catalogue_editing.update_product)
    fields = ("slug", "name", "description", "category", "is_active")
    editable = ("name", "description", "category", "is_active")
    list_display = ("name", "category", "prices", "is_active", "created_at")
    list_filter = ("is_active", "category")
    list_select_related = ("category",)
    search_fields = ("name", "slug", "variants__sku")
    search_help_text = "Parts of the name, the slug or a SKU."
    ordering = ("-id",)
    actions = (take_off_sale, put_on_sale)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Product]:
        variants = Variant.objects.filter(product=OuterRef("pk"), is_active=True)
        currency = Subquery(variants.values("currency")[:1])
        return super().get_queryset(request).defer("document").annotate(currency=currency)

    def get_related_links(self, obj: Product) -> list[tuple[str, str]]:
        return [("Variants", build_list_url("inventory", "variant", product__id__exact=obj.pk))]

    @admin.display(ordering="min_price")
    def prices(self, product: Product) -> str:
        prices = [price for price in (product.min_price, product.max_price) if price is not None]
        currency: str = product.currency  # type: ignore[attr-defined]  # annotated by `get_queryset`
        return " – ".join(dict.fromkeys(str(Money(price, currency)) for price in prices))


class VariantForm(ConfirmedAmountForm):
    """Form of a variant. Its price keeps its currency; a new variant is priced in CURRENCY."""

    price = AmountField()

    def get_currency(self) -> str:
        return self.instance.currency or settings.CURRENCY


@admin.register(Variant)
class VariantAdmin(CatalogueAdmin):
    """Variants and their prices."""

    form = VariantForm
    amounts = ("price",)
    add, edit = staticmethod(catalogue_editing.create_variant), staticmethod(catalogue_editing.update_variant)
    fields = ("sku", "product", "name", "price", "confirm_amount", "position", "is_active")
    editable = ("name", "price", "confirm_amount", "position", "is_active")
    list_display = ("sku", "product", "name", "price", "is_active")
    list_filter = ("is_active", "product__category")
    linked_lookups = ("product__id__exact",)
    list_select_related = ("product",)
    search_fields = ("sku", "name", "product__name")
    autocomplete_fields = ("product",)
    ordering = ("sku",)

    def get_related_links(self, obj: Variant) -> list[tuple[str, str]]:
        return [
            ("Product", build_object_url("inventory", "product", obj.product_id)),
            ("Stock", build_object_url("inventory", "stock", obj.pk)),
        ]


class StockAdjustmentForm(forms.ModelForm):
    """Form to correct the stock by a signed quantity, with a reason."""

    quantity = forms.IntegerField(
        min_value=-1_000_000,
        max_value=1_000_000,
        help_text="Units to add. Use a negative number to remove units.",
    )
    reason = forms.CharField(max_length=200)


class AvailabilityFilter(admin.SimpleListFilter):
    """Filter by availability."""

    title = parameter_name = "availability"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        return [("available", "Available"), ("sold_out", "Sold out"), ("reserved", "Reserved")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Stock]) -> QuerySet[Stock]:
        conditions = {
            "available": Q(on_hand__gt=F("reserved")),
            "sold_out": Q(on_hand=F("reserved")),
            "reserved": Q(reserved__gt=0),
        }
        return queryset.filter(conditions.get(self.value() or "", Q()))


@admin.register(Stock)
class StockAdmin(ContextAdmin):
    """Stock. It can be corrected, with a reason."""

    form = StockAdjustmentForm
    fields = ("variant", "on_hand", "reserved", "available", "initial", "quantity", "reason")
    readonly_fields = ("available",)
    list_display = ("sku", "product", "on_hand", "reserved", "available")
    list_filter = (AvailabilityFilter, "variant__product__category")
    list_select_related = ("variant__product",)
    search_fields = ("variant__sku", "variant__name", "variant__product__name")
    ordering = ("variant",)

    def get_related_links(self, obj: Stock) -> list[tuple[str, str]]:
        return [
            ("Variant", build_object_url("inventory", "variant", obj.pk)),
            ("Movements", build_list_url("inventory", "stockmovement", sku__exact=obj.pk)),
        ]

    @admin.display(description="SKU", ordering="variant")
    def sku(self, row: Stock) -> str:
        return row.variant_id

    @admin.display(ordering="variant__product__name")
    def product(self, row: Stock) -> str:
        return f"{row.variant.product.name}, {row.variant.name}"

    @admin.display(ordering=F("on_hand") - F("reserved"))
    def available(self, row: Stock) -> int:
        return row.on_hand - row.reserved

    def get_version(self, obj: Stock) -> str:
        return stock.get_version(obj.variant_id)

    def save_through_service(self, request: HttpRequest, obj: Stock, form: forms.ModelForm, change: bool) -> None:
        entered = form.cleaned_data
        stock.adjust(
            sku=obj.variant_id,
            quantity=entered["quantity"],
            reason=entered["reason"],
            actor=request.user.get_username(),
            expected_version=read_version(request),
        )


@admin.register(StockMovement)
class StockMovementAdmin(ContextAdmin):
    """Stock movements. Read-only."""

    list_display = ("at", "sku", "kind", "quantity", "actor", "note", "order_id")
    list_filter = ("kind", "at")
    linked_lookups = ("sku__exact",)
    links = {"order_id": ("orders", "order")}
    search_fields = ("sku",)
    search_help_text = "A part of the SKU, or an order id."
    ordering = ("-id",)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[StockMovement], search_term: str
    ) -> tuple[QuerySet[StockMovement], bool]:
        """Search for an order, or for the SKUs that contain the term: an index finds the movements of a SKU."""
        term = text_search.normalize_term(search_term)
        if order_id := text_search.parse_id(term):
            return queryset.filter(order_id=order_id), False
        found = Variant.objects.filter(sku__icontains=term).values("sku")
        return (queryset.filter(sku__in=found) if term else queryset), False


@admin.register(Reservation)
class ReservationAdmin(ContextAdmin):
    """Reservations of orders. Read-only: the orders context commits and releases them."""

    fields = (
        "order_id",
        "status",
        "contents",
        "created_at",
        "due_at",
        "announce_at",
        "refused_sku",
        "refused_available",
    )
    readonly_fields = ("contents",)
    list_display = ("order_id", "status", "contents", "created_at", "due_at")
    list_filter = ("status", "created_at")
    search_fields = ("order_id",)
    search_help_text = "An order id, or a part of a SKU."
    ordering = ("-created_at",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Reservation]:
        return super().get_queryset(request).prefetch_related("lines")

    def get_related_links(self, obj: Reservation) -> list[tuple[str, str]]:
        return [
            ("Order", build_object_url("orders", "order", obj.pk)),
            ("Payment", build_list_url("payments", "payment", q=obj.pk)),
        ]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Reservation], search_term: str
    ) -> tuple[QuerySet[Reservation], bool]:
        """Search for an order, or for the SKUs that contain the term."""
        term = text_search.normalize_term(search_term)
        if order_id := text_search.parse_id(term):
            return queryset.filter(pk=order_id), False
        lines = ReservationLine.objects.filter(sku__in=Variant.objects.filter(sku__icontains=term).values("sku"))
        return (queryset.filter(pk__in=lines.values("reservation_id")) if term else queryset), False

    @admin.display(description="Units")
    def contents(self, reservation: Reservation) -> str:
        return ", ".join(str(line) for line in reservation.lines.all())
