"""Admin of users."""

from typing import cast
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from contexts.users.models import User
from contexts.users.service import staff
from shop.admin.bulk_actions import bulk_action
from shop.admin.context_admin import ContextAdmin
from shop.admin.links import build_list_url
from shop.admin.submissions import read_version
from shop.batch import Task
from shop.db.text_search import normalize_term, parse_id
from shop.http.tokens import Caller

NEW_PASSWORD_MESSAGE = (
    "{} was a customer's account. All of its sessions have ended, and its password is now: {} It is shown only once."
)


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


def _get_caller_id(user: User, request: HttpRequest) -> str:
    return str(_get_caller(request).id)


def _build_actor(task: Task) -> Caller:
    """Return the member of staff who selected the accounts. The service reads their present permissions."""
    return Caller(UUID(task.argument), task.actor)


@bulk_action(
    "users.disable", "Disable selected accounts", permissions=("change",), done="disabled", get_argument=_get_caller_id
)
def disable(task: Task) -> None:
    staff.disable(UUID(task.key), actor=_build_actor(task))


@bulk_action(
    "users.enable", "Enable selected accounts", permissions=("change",), done="enabled", get_argument=_get_caller_id
)
def enable(task: Task) -> None:
    staff.enable(UUID(task.key), actor=_build_actor(task))


@admin.register(User)
class UserAdmin(ContextAdmin):
    """Accounts. Staff grant, take and disable what they are allowed themselves: see the service."""

    list_display = ["email", "full_name", "is_active", "permissions", "created_at"]
    list_filter = ["is_active", StaffFilter]
    search_fields = ["email", "full_name"]
    search_help_text = "Parts of the e-mail address or name, or the id."
    search_expression = "lower(email || ' ' || full_name)"  # of the trigram index in the migrations
    date_hierarchy = "created_at"
    ordering = ["-id"]
    fields = ["id", "email", "full_name", "is_active", "permissions", "created_at"]
    editable = ("permissions",)
    actions = (disable, enable)

    def can_save(self, request: HttpRequest) -> bool:
        return super().can_save(request) and _get_caller(request).has_perm(staff.GRANT_PERMISSION)

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> list[str]:
        return [*super().get_readonly_fields(request, obj), *(() if self.can_save(request) else self.editable)]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[User], search_term: str
    ) -> tuple[QuerySet[User], bool]:
        if found_id := parse_id(normalize_term(search_term)):
            return queryset.filter(id=found_id), False
        return super().get_search_results(request, queryset, search_term)

    def get_related_links(self, obj: User) -> list[tuple[str, str]]:
        return [
            ("Orders", build_list_url("orders", "order", q=obj.pk)),
            ("Messages", build_list_url("notifications", "message", q=obj.pk)),
        ]

    def get_version(self, obj: User) -> str:
        return staff.get_version(obj)

    def save_through_service(self, request: HttpRequest, obj: User, form: forms.ModelForm, change: bool) -> None:
        permissions = form.cleaned_data.get("permissions")
        if permissions is not None:
            version = read_version(request)
            actor = _get_caller(request)
            password = staff.set_permissions(obj.id, permissions=permissions, actor=actor, expected_version=version)
            if password:
                self.message_user(request, NEW_PASSWORD_MESSAGE.format(obj.email, password), messages.WARNING)
