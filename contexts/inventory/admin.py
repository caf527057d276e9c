"""Admin of inventory."""

from collections.abc import Callable
from typing import ClassVar

from django import forms
from django.conf import settings
from django.contrib import admin
from django.db.models import F, Model, OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest

from contexts.inventory.models import Category, Product, Reservation, Stock, StockMovement, Variant
from contexts.inventory.service import catalogue_editing, stock
from shop.admin.context_admin import ContextAdmin, apply_to_each
from shop.admin.money import AmountField, ConfirmedAmountForm
from shop.money import Money


class CatalogueAdmin(ContextAdmin):
    """Base of the catalogue's tables. Rows are added and edited through the service."""

    can_add = True
    add: ClassVar[Callable[..., Model]]
    edit: ClassVar[Callable[..., None]]

    def save_model(self, request: HttpRequest, obj: Model, form: forms.ModelForm, change: bool) -> None:
        actor = request.user.get_username()
        if change:
            changed = {name: form.cleaned_data[name] for name in form.changed_data}
            type(self).edit(obj.pk, actor=actor, **changed)
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


@admin.register(Product)
class ProductAdmin(CatalogueAdmin):
    """Products. Prices and stock belong to their variants."""

    add, edit = staticmethod(catalogue_editing.create_product), staticmethod(catalogue_editing.update_product)
    fields = ("slug", "name", "description", "category", "is_active")
    editable = ("name", "description", "category", "is_active")
    list_display = ("name", "category", "prices", "is_active", "created_at")
    list_filter = ("is_active", "category")
    list_select_related = ("category",)
    search_fields = ("name", "slug", "=variants__sku")
    ordering = ("-id",)
    actions = ("take_off_sale", "put_on_sale")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Product]:
        variants = Variant.objects.filter(product=OuterRef("pk"), is_active=True)
        currency = Subquery(variants.values("currency")[:1])
        return super().get_queryset(request).defer("document").annotate(currency=currency)

    @admin.display(ordering="min_price")
    def prices(self, product: Product) -> str:
        prices = [price for price in (product.min_price, product.max_price) if price is not None]
        currency: str = product.currency  # type: ignore[attr-defined]  # annotated by `get_queryset`
        return " – ".join(dict.fromkeys(str(Money(price, currency)) for price in prices))

    @admin.action(description="Take off sale")
    def take_off_sale(self, request: HttpRequest, queryset: QuerySet[Product]) -> None:
        self._set_active(request, queryset, False, "is off sale")

    @admin.action(description="Put on sale")
    def put_on_sale(self, request: HttpRequest, queryset: QuerySet[Product]) -> None:
        self._set_active(request, queryset, True, "is on sale")

    def _set_active(self, request: HttpRequest, queryset: QuerySet[Product], is_active: bool, done: str) -> None:
        actor = request.user.get_username()

        def update(product: Product) -> None:
            catalogue_editing.update_product(product.pk, actor=actor, is_active=is_active)

        apply_to_each(self, request, queryset, update, done)


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
    list_select_related = ("product",)
    search_fields = ("sku", "name", "product__name")
    autocomplete_fields = ("product",)
    ordering = ("sku",)


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
        entered = form.cleaned_data
        actor = request.user.get_username()
        stock.adjust(sku=obj.variant_id, quantity=entered["quantity"], reason=entered["reason"], actor=actor)


@admin.register(StockMovement)
class StockMovementAdmin(ContextAdmin):
    """Stock movements. Read-only."""

    list_display = ("at", "sku", "kind", "quantity", "actor", "note", "order_id")
    list_filter = ("kind", "at")
    search_fields = ("=sku", "=order_id", "=note")
    ordering = ("-id",)


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
    search_fields = ("=order_id", "=lines__sku")
    ordering = ("-created_at",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Reservation]:
        return super().get_queryset(request).prefetch_related("lines")

    @admin.display(description="Units")
    def contents(self, reservation: Reservation) -> str:
        return ", ".join(str(line) for line in reservation.lines.all())
