"""Admin of users."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from contexts.users.models import User
from contexts.users.service import staff
from shop.admin import ContextAdmin, each

GRANTING = "users.permissions"  # whoever holds it can hand out everything, to themselves too


class StaffFilter(admin.SimpleListFilter):
    """Staff are those who have permissions."""

    title = parameter_name = "staff"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Yes"), ("no", "No")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        if self.value() == "yes":
            return queryset.exclude(permissions=[])
        return queryset.filter(permissions=[]) if self.value() == "no" else queryset


@admin.register(User)
class UserAdmin(ContextAdmin):
    """Accounts. Permissions are changed only by those who may grant them."""

    list_display = ["email", "full_name", "is_active", "permissions", "created_at"]
    list_filter = ["is_active", StaffFilter]
    search_fields = ["email", "full_name"]
    date_hierarchy = "created_at"
    ordering = ["-id"]
    fields = ["id", "email", "full_name", "is_active", "permissions", "created_at"]
    editable = ("permissions",)
    actions = ["disable", "enable"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        shown = super().get_readonly_fields(request, obj)
        return shown if request.user.has_perm(GRANTING) else [*shown, *self.editable]

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        wanted = form.cleaned_data.get("permissions")
        if wanted is not None:
            staff.set_permissions(obj.id, permissions=wanted, actor=request.user.get_username())

    @admin.action(description="Disable the chosen accounts", permissions=["change"])
    def disable(self, request: HttpRequest, chosen: Any) -> None:
        each(self, request, chosen, lambda user: staff.disable(user.id, actor=request.user.get_username()), "disabled")

    @admin.action(description="Enable the chosen accounts", permissions=["change"])
    def enable(self, request: HttpRequest, chosen: Any) -> None:
        each(self, request, chosen, lambda user: staff.enable(user.id, actor=request.user.get_username()), "enabled")
