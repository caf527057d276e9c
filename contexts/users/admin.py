"""Admin of users."""

from typing import cast

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from contexts.users.models import User
from contexts.users.service import staff
from shop.admin.context_admin import ContextAdmin, apply_to_each
from shop.http.tokens import Caller


def _get_caller(request: HttpRequest) -> Caller:
    return cast(Caller, request.user)  # staff sign in with a token, see config.admin_site


class StaffFilter(admin.SimpleListFilter):
    """Filter by whether a user has permissions."""

    title = parameter_name = "staff"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        return [("yes", "Yes"), ("no", "No")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[User]) -> QuerySet[User]:
        if self.value() == "yes":
            return queryset.exclude(permissions=[])
        return queryset.filter(permissions=[]) if self.value() == "no" else queryset


@admin.register(User)
class UserAdmin(ContextAdmin):
    """Accounts. Staff grant, take and disable what they are allowed themselves: see the service."""

    list_display = ["email", "full_name", "is_active", "permissions", "created_at"]
    list_filter = ["is_active", StaffFilter]
    search_fields = ["email", "full_name"]
    date_hierarchy = "created_at"
    ordering = ["-id"]
    fields = ["id", "email", "full_name", "is_active", "permissions", "created_at"]
    editable = ("permissions",)
    actions = ["disable", "enable"]

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> list[str]:
        read_only = super().get_readonly_fields(request, obj)
        return [*read_only, *(() if _get_caller(request).has_perm(staff.GRANT_PERMISSION) else self.editable)]

    def save_model(self, request: HttpRequest, obj: User, form: forms.ModelForm, change: bool) -> None:
        permissions = form.cleaned_data.get("permissions")
        if permissions is not None:
            staff.set_permissions(obj.id, permissions=permissions, actor=_get_caller(request))

    @admin.action(description="Disable selected accounts", permissions=["change"])
    def disable(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        actor = _get_caller(request)
        apply_to_each(self, request, queryset, lambda user: staff.disable(user.id, actor=actor), "disabled")

    @admin.action(description="Enable selected accounts", permissions=["change"])
    def enable(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        actor = _get_caller(request)
        apply_to_each(self, request, queryset, lambda user: staff.enable(user.id, actor=actor), "enabled")
