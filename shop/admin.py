"""Admin conventions: looks are Django's, writes go through the context's service, and every one is audited."""

from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from shop import audit
from shop.errors import DomainError


class ContextAdmin(admin.ModelAdmin):
    """A table of a context. Read-only, unless a subclass lists `editable` fields and writes in `save_model`.

    Permissions are strings of the staff token: `<context>.view`, `<context>.change`. `save_model` calls the service,
    which opens the transaction; the admin opens none, and keeps no log besides the context's audit trail.
    """

    editable: tuple[str, ...] = ()
    can_add = False
    show_full_result_count = False
    list_per_page = 50
    object_history_template = "shop/admin_history.html"

    @property
    def context(self) -> str:
        return self.opts.app_label

    def has_module_permission(self, request: HttpRequest) -> bool:
        return request.user.has_module_perms(self.context)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return any(request.user.has_perm(f"{self.context}.{right}") for right in ("view", "change"))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm(f"{self.context}.change")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.can_add and self.has_change_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None and self.can_add:
            return self.readonly_fields
        hidden = {*self.editable, *(self.exclude or ())}
        own = [field.name for field in self.opts.fields if field.name not in hidden]
        return [*own, *(name for name in self.readonly_fields if name not in own)]

    def changeform_view(self, request: HttpRequest, object_id: Any = None, form_url: str = "", extra_context: Any = None):
        """As Django's, but without its transaction, and with a domain error shown as a message."""
        saves = type(self).save_model is not ContextAdmin.save_model
        extra_context = {**(extra_context or {}), "show_save": saves, "show_save_and_continue": saves}
        try:
            return self._changeform_view(request, object_id, form_url, extra_context)
        except DomainError as error:
            self.message_user(request, str(error), messages.ERROR)
            return self._changeform_view(_as_get(request), object_id, form_url, extra_context)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Nothing: a subclass with `editable` fields calls its service here."""

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Nothing: what a change writes, the service writes."""

    def log_addition(self, *_: Any) -> None:
        """Nothing: the service has written the audit entry."""

    log_change = log_deletions = log_addition

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """The audit trail of one object."""
        obj = self.get_object(request, object_id)
        if obj is None or not self.has_view_permission(request, obj):
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
        shown = {
            **self.admin_site.each_context(request),
            "title": f"History of {obj}",
            "entries": audit.trail(self.context, self.opts.model_name, obj.pk),
            "object": obj,
            "opts": self.opts,
        }
        return TemplateResponse(request, self.object_history_template, shown)


def _as_get(request: HttpRequest) -> HttpRequest:
    request.method = "GET"
    return request


def each(modeladmin: ContextAdmin, request: HttpRequest, objects: Any, do: Any, done: str) -> None:
    """An admin action: `do` each object through the service, and say for each what came of it."""
    for obj in objects:
        try:
            do(obj)
            modeladmin.message_user(request, f"{obj}: {done}", messages.SUCCESS)
        except DomainError as error:
            modeladmin.message_user(request, f"{obj}: {error}", messages.ERROR)
