"""Admin conventions: Django's pages, writes through the service of the context, and an audit entry for each."""

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from django.contrib import admin, messages
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from shop import audit
from shop.admin.money import AmountColumn
from shop.errors import DomainError
from shop.http.tokens import Caller
from shop.permissions import register_permission

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]  # each subclass is registered for a model of its own
else:
    ModelAdmin = admin.ModelAdmin

M = TypeVar("M", bound=Model)


def _get_caller(request: HttpRequest) -> Caller:
    """Return the caller of an admin request; an anonymous caller has the same permission methods."""
    return cast(Caller, request.user)


class ContextAdmin(ModelAdmin):
    """Show a table of a context. Read-only, unless a subclass lists `editable` fields and implements `save_model`.

    Permissions come from the staff token: `<context>.view`, `<context>.change`. `save_model` calls the service, which
    opens the transaction and writes the audit entry. The admin itself opens no transaction and keeps no other log.
    """

    editable: tuple[str, ...] = ()
    amounts: tuple[str, ...] = ()  # columns in minor units, which are shown as people write money
    currency_field = "currency"  # of the currency of these amounts; `__` follows a relation
    can_add = False
    show_full_result_count = False
    list_per_page = 50
    object_history_template = "shop/admin_history.html"

    def __init__(self, model: type[Model], admin_site: admin.AdminSite) -> None:
        super().__init__(model, admin_site)
        for right in ("view", "change"):
            register_permission(f"{self.context}.{right}")

    @property
    def context(self) -> str:
        return self.opts.app_label

    def has_module_permission(self, request: HttpRequest) -> bool:
        return _get_caller(request).has_module_perms(self.context)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return any(_get_caller(request).has_perm(f"{self.context}.{right}") for right in ("view", "change"))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _get_caller(request).has_perm(f"{self.context}.change")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.can_add and self.has_change_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None and self.can_add:
            return self.readonly_fields
        hidden = {*self.editable, *(self.exclude or ())}
        fields = [field.name for field in self.opts.fields if field.name not in hidden]
        return self._show_as_money([*fields, *(name for name in self.readonly_fields if name not in fields)])

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the fieldsets. An amount that the caller cannot edit is shown as money."""
        can_edit = obj is None or self.has_change_permission(request, obj)
        editable = self.editable if can_edit else ()
        only_in_form = () if can_edit else set(self.form.declared_fields) - {field.name for field in self.opts.fields}
        return [
            (name, {**options, "fields": self._show_as_money(options["fields"], editable, only_in_form)})
            for name, options in super().get_fieldsets(request, obj)
        ]

    def get_exclude(self, request: HttpRequest, obj: Any = None) -> Any:
        """Exclude the amounts that cannot be edited from the form: they are shown as money instead."""
        return [*(self.exclude or ()), *(name for name in self.amounts if name not in self.editable)]

    def get_list_display(self, request: HttpRequest) -> Any:
        return self._show_as_money(super().get_list_display(request))

    def _show_as_money(
        self, fields: Iterable[Any], except_for: Collection[Any] = (), without: Collection[Any] = ()
    ) -> list[Any]:
        shown = set(self.amounts) - set(except_for)
        return [
            AmountColumn(name, self.currency_field) if name in shown else name for name in fields if name not in without
        ]

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show Django's change form without a transaction, and a domain error as a message."""
        can_save = type(self).save_model is not ContextAdmin.save_model
        extra_context = {**(extra_context or {}), "show_save": can_save, "show_save_and_continue": can_save}
        show_form: Callable[..., HttpResponse] = self._changeform_view  # type: ignore[attr-defined]  # private in Django
        try:
            return show_form(request, object_id, form_url, extra_context)
        except DomainError as error:
            self.message_user(request, str(error), messages.ERROR)
            return show_form(_as_get(request), object_id, form_url, extra_context)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Do nothing. A subclass with `editable` fields calls its service here."""

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Do nothing: the service writes all rows of a change."""

    def log_addition(self, *_: Any, **__: Any) -> Any:
        """Do nothing: the service has written the audit entry."""

    log_change = log_deletions = log_addition

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the audit entries of one object."""
        obj = self.get_object(request, object_id)
        if obj is None or not self.has_view_permission(request, obj):
            redirect: Callable[..., HttpResponse] = self._get_obj_does_not_exist_redirect  # type: ignore[attr-defined]  # private in Django
            return redirect(request, self.opts, object_id)
        context = {
            **self.admin_site.each_context(request),
            "title": f"History of {obj}",
            "entries": audit.list_object_history(self.context, self.opts.model_name or "", obj.pk),
            "object": obj,
            "opts": self.opts,
        }
        return TemplateResponse(request, self.object_history_template, context)


def _as_get(request: HttpRequest) -> HttpRequest:
    request.method = "GET"
    return request


def apply_to_each(
    modeladmin: ContextAdmin,
    request: HttpRequest,
    objects: Iterable[M],
    action: Callable[[M], object],
    success_message: str,
) -> None:
    """Run an admin action for each object through the service, and show a message for each."""
    for obj in objects:
        try:
            action(obj)
            modeladmin.message_user(request, f"{obj}: {success_message}", messages.SUCCESS)
        except DomainError as error:
            modeladmin.message_user(request, f"{obj}: {error}", messages.ERROR)
