"""Admin of inventory."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.db.models import F, QuerySet
from django.http import HttpRequest

from contexts.inventory.models import Category, Product, Reservation, Stock, StockMovement, Variant
from contexts.inventory.service import editing, stock
from shop.admin import ContextAdmin, each
from shop.money import Money


class CatalogueAdmin(ContextAdmin):
    """A table of the catalogue: added to and edited, through the service."""

    can_add = True
    add: Any
    edit: Any

    def save_model(self, request: HttpRequest, obj: Any, form: forms.ModelForm, change: bool) -> None:
        actor = request.user.get_username()
        if change:
            changed = {name: form.cleaned_data[name] for name in form.changed_data}
            type(self).edit(obj.pk, actor=actor, **changed)
        else:
            obj.pk = type(self).add(actor=actor, **form.cleaned_data).pk


@admin.register(Category)
class CategoryAdmin(CatalogueAdmin):
    """Categories."""

    add, edit = staticmethod(editing.add_category), staticmethod(editing.edit_category)
    fields = ("slug", "name", "description", "position")
    editable = ("name", "description", "position")
    list_display = ("name", "slug", "position")
    search_fields = ("name", "slug")
    ordering = ("position", "slug")


@admin.register(Product)
class ProductAdmin(CatalogueAdmin):
    """Products. Prices and stock are those of their variants."""

    add, edit = staticmethod(editing.add_product), staticmethod(editing.edit_product)
    fields = ("slug", "name", "description", "category", "is_active")
    editable = ("name", "description", "category", "is_active")
    list_display = ("name", "category", "prices", "is_active", "created_at")
    list_filter = ("is_active", "category")
    list_select_related = ("category",)
    search_fields = ("name", "slug", "=variants__sku")
    ordering = ("-id",)
    actions = ("take_off_sale", "put_on_sale")

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).defer("document")

    @admin.display(ordering="min_price")
    def prices(self, product: Product) -> str:
        ends = [Money(price, settings.CURRENCY) for price in (product.min_price, product.max_price) if price is not None]
        return " – ".join(dict.fromkeys(map(str, ends)))

    @admin.action(description="Take off sale")
    def take_off_sale(self, request: HttpRequest, queryset: QuerySet) -> None:
        self._set_active(request, queryset, False, "is off sale")

    @admin.action(description="Put on sale")
    def put_on_sale(self, request: HttpRequest, queryset: QuerySet) -> None:
        self._set_active(request, queryset, True, "is on sale")

    def _set_active(self, request: HttpRequest, queryset: QuerySet, is_active: bool, done: str) -> None:
        actor = request.user.get_username()
        each(
            self, request, queryset, lambda product: editing.edit_product(product.pk, actor=actor, is_active=is_active), done
        )


@admin.register(Variant)
class VariantAdmin(CatalogueAdmin):
    """Variants and their prices."""

    add, edit = staticmethod(editing.add_variant), staticmethod(editing.edit_variant)
    fields = ("sku", "product", "name", "price", "position", "is_active")
    editable = ("name", "price", "position", "is_active")
    list_display = ("sku", "product", "name", "money", "is_active")
    list_filter = ("is_active", "product__category")
    list_select_related = ("product",)
    search_fields = ("sku", "name", "product__name")
    autocomplete_fields = ("product",)
    ordering = ("sku",)


class CorrectionForm(forms.ModelForm):
    """A signed correction, beside the figures that it changes."""

    quantity = forms.IntegerField(
        min_value=-1_000_000, max_value=1_000_000, help_text="Signed: how many units more or fewer there are on the shelf."
    )
    reason = forms.CharField(max_length=200)


class Availability(admin.SimpleListFilter):
    """What can be bought, what cannot."""

    title = parameter_name = "availability"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("available", "Available"), ("sold_out", "Sold out"), ("reserved", "Reserved")]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        conditions = {
            "available": {"on_hand__gt": F("reserved")},
            "sold_out": {"on_hand": F("reserved")},
            "reserved": {"reserved__gt": 0},
        }
        return queryset.filter(**conditions.get(self.value() or "", {}))


@admin.register(Stock)
class StockAdmin(ContextAdmin):
    """Stock: looked at, and corrected with a reason."""

    form = CorrectionForm
    fields = ("variant", "on_hand", "reserved", "available", "initial", "quantity", "reason")
    readonly_fields = ("available",)
    list_display = ("sku", "product", "on_hand", "reserved", "available")
    list_filter = (Availability, "variant__product__category")
    list_select_related = ("variant__product",)
    search_fields = ("variant__sku", "variant__name", "variant__product__name")
    ordering = ("variant",)

    @admin.display(description="SKU", ordering="variant")
    def sku(self, row: Stock) -> str:
        return row.variant_id

    @admin.display(ordering="variant__product__name")
    def product(self, row: Stock) -> str:
        return f"{row.variant.product.name}, {row.variant.name}"

    @admin.display(ordering=F("on_hand") - F("reserved"))
    def available(self, row: Stock) -> int:
        return row.on_hand - row.reserved

    def save_model(self, request: HttpRequest, obj: Stock, form: forms.ModelForm, change: bool) -> None:
        given = form.cleaned_data
        actor = request.user.get_username()
        stock.adjust(sku=obj.variant_id, quantity=given["quantity"], reason=given["reason"], actor=actor)


@admin.register(StockMovement)
class StockMovementAdmin(ContextAdmin):
    """The stock ledger."""

    list_display = ("at", "sku", "kind", "quantity", "actor", "note", "order_id")
    list_filter = ("kind", "at")
    search_fields = ("=sku", "=order_id", "=note")
    ordering = ("-id",)


@admin.register(Reservation)
class ReservationAdmin(ContextAdmin):
    """Reservations, each of one order. Only orders decides what becomes of one."""

    fields = ("order_id", "status", "contents", "created_at", "due_at", "announce_at", "refused_sku", "refused_available")
    readonly_fields = ("contents",)
    list_display = ("order_id", "status", "contents", "created_at", "due_at")
    list_filter = ("status", "created_at")
    search_fields = ("=order_id", "=lines__sku")
    ordering = ("-created_at",)

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).prefetch_related("lines")

    @admin.display(description="Units")
    def contents(self, reservation: Reservation) -> str:
        return ", ".join(str(line) for line in reservation.lines.all())
