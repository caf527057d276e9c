"""Admin conventions: Django's pages, writes through the service of the context, and an audit entry for each."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, cast

from django.contrib import admin, messages
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.db.models import Model, QuerySet
from django.forms import Form
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.text import capfirst

from shop import audit
from shop.admin.bulk_actions import BulkActionsAdmin
from shop.admin.history import describe_detail
from shop.admin.inputs import KeySelect, check_texts, find_refusals, refuses_texts
from shop.admin.links import build_list_url, build_object_url, link_to_object
from shop.admin.lookups import DeclaredLookupsAdmin
from shop.admin.money import AmountColumn
from shop.admin.submissions import (
    TOKEN_FIELD,
    VERSION_FIELD,
    AlreadySaved,
    assert_not_saved,
    create_token,
    read_token,
    read_version,
    save_once,
)
from shop.db import text_search
from shop.errors import DomainError, PreconditionFailed
from shop.http.tokens import Caller
from shop.permissions import register_permission
from shop.security_log import log_refusal

LINK_SUFFIX = "_link"  # of the column that shows the id in a field as a link


def _get_caller(request: HttpRequest) -> Caller:
    """Return the caller of an admin request; an anonymous caller has the same permission methods."""
    return cast(Caller, request.user)


class ContextAdmin(DeclaredLookupsAdmin, BulkActionsAdmin):
    """Show a table of a context. Read-only, unless a subclass lists `editable` fields and implements
    `save_through_service` and `get_version`.

    Permissions come from the staff token: `<context>.view`, `<context>.change`. The service writes the changes and the
    audit entry; the admin keeps no other log. A form is saved once, however often it is sent, and only if the object
    still has the version that the form was opened with: a form that does not say its version is refused.
    """

    editable: tuple[str, ...] = ()
    amounts: tuple[str, ...] = ()  # columns in minor units, which are shown as people write money
    currency_field = "currency"  # of the currency of these amounts; `__` follows a relation
    links: Mapping[str, tuple[str, str]] = {}  # context and model of a page, by the field with the id of its object
    search_expression = ""  # text that is searched by parts of words, in lower case, in SQL; it needs a trigram index
    can_add = False
    show_full_result_count = False
    list_per_page = 50
    object_history_template = "shop/admin_history.html"
    change_form_template = "shop/admin_change_form.html"
    change_list_template = "shop/admin_change_list.html"

    def __init__(self, model: type[Model], admin_site: admin.AdminSite) -> None:
        super().__init__(model, admin_site)
        self._assert_forms_have_versions()
        for field, (context, name) in self.links.items():
            setattr(self, f"{field}{LINK_SUFFIX}", _build_link_column(field, context, name))
        for right in ("view", "change"):
            register_permission(f"{self.context}.{right}")

    def _assert_forms_have_versions(self) -> None:
        """Raise ImproperlyConfigured for a form or rows that could be saved over newer values."""
        if self.saves and type(self).get_version is ContextAdmin.get_version:
            raise ImproperlyConfigured(f"{type(self).__name__} saves forms, so it has to define get_version.")
        if self.inlines or self.list_editable:
            raise ImproperlyConfigured(f"{type(self).__name__}: rows in a list or inline are saved without a version.")

    @property
    def context(self) -> str:
        return self.opts.app_label

    @property
    def saves(self) -> bool:
        """Return whether the forms of this table can be saved."""
        return type(self).save_through_service is not ContextAdmin.save_through_service

    def can_save(self, request: HttpRequest) -> bool:
        """Return whether the caller can save a form of this table."""
        return self.saves and self.has_change_permission(request)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return _get_caller(request).has_module_perms(self.context)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return any(_get_caller(request).has_perm(f"{self.context}.{right}") for right in ("view", "change"))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _get_caller(request).has_perm(f"{self.context}.change")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.can_add and self.has_change_permission(request)

    def get_model_perms(self, request: HttpRequest) -> dict[str, bool]:
        """Return the rights for the index, which offers to change a table only if a form of it can be saved."""
        return super().get_model_perms(request) | {"change": self.can_save(request)}

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Return the object with this key. An empty `_to_field` in the query stands for none."""
        return super().get_object(request, object_id, from_field or None)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None and self.can_add:
            return self.readonly_fields
        hidden = {*self.editable, *(self.exclude or ())}
        fields = [field.name for field in self.opts.fields if field.name not in hidden]
        return self._show([*fields, *(name for name in self.readonly_fields if name not in fields)])

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the fieldsets. An amount that the caller cannot edit is shown as money."""
        can_edit = obj is None or self.has_change_permission(request, obj)
        editable = self.editable if can_edit else ()
        only_in_form = () if can_edit else set(self.form.declared_fields) - {field.name for field in self.opts.fields}
        return [
            (name, {**options, "fields": self._show(options["fields"], editable, only_in_form)})
            for name, options in super().get_fieldsets(request, obj)
        ]

    def get_exclude(self, request: HttpRequest, obj: Any = None) -> Any:
        """Exclude from the form what is shown in another way: amounts that cannot be edited, and ids of other objects."""
        return [*(self.exclude or ()), *({*self.amounts, *self.links} - {*self.editable})]

    def get_list_display(self, request: HttpRequest) -> Any:
        first, *others = super().get_list_display(request)  # the first column links to the page of the row itself
        return [first, *self._show(others)]

    def _show(
        self, fields: Iterable[Any], except_for: Collection[Any] = (), without: Collection[Any] = ()
    ) -> list[Any]:
        """Return fields as they are shown: amounts as money, ids of other objects as links to their pages.

        except_for: amounts that stay plain numbers, because they can be edited. without: fields to leave out.
        """
        shown = set(self.amounts) - set(except_for)
        names = [f"{name}{LINK_SUFFIX}" if name in self.links else name for name in fields if name not in without]
        return [AmountColumn(name, self.currency_field) if name in shown else name for name in names]

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name in self.get_autocomplete_fields(request):
            kwargs.setdefault("widget", KeySelect(db_field, self.admin_site, using=kwargs.get("using")))
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def get_related_links(self, obj: Any) -> list[tuple[str, str]]:
        """Return labels and paths of pages about the same thing, also of other contexts. A subclass lists them."""
        return []

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Search by parts of words, in any case, with or without a # before a word."""
        if self.search_expression:
            return text_search.filter_by_words(queryset, self.search_expression, search_term), False
        return super().get_search_results(request, queryset, " ".join(text_search.split_words(search_term)))

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """Return the form class, which refuses a text that no table may have."""
        return super().get_form(request, obj, change, **{"form": check_texts(self.form), **kwargs})

    @refuses_texts
    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        return super().add_view(request, form_url, extra_context)

    @refuses_texts
    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        return super().change_view(request, object_id, form_url, extra_context)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show Django's change form, and a domain error as a message above the values that are stored now."""
        can_save = self.can_save(request)
        extra_context = {**(extra_context or {}), "show_save": can_save, "show_save_and_continue": can_save}
        show_form: Callable[..., HttpResponse] = self._changeform_view  # type: ignore[attr-defined]  # private in Django
        try:
            if request.method == "POST":
                self._assert_can_be_saved(request, is_new=object_id is None)
            return show_form(request, object_id, form_url, extra_context)
        except AlreadySaved as error:
            self.message_user(request, str(error), messages.INFO)
        except PreconditionFailed as error:
            self.message_user(request, _describe_conflict(error, _get_submitted_form(request)), messages.ERROR)
        except DomainError as error:
            log_refusal(error, path=request.path)
            self.message_user(request, str(error), messages.ERROR)
        return show_form(_as_get(request), object_id, form_url, extra_context)

    def _assert_can_be_saved(self, request: HttpRequest, *, is_new: bool) -> None:
        """Raise AlreadySaved, IncompleteForm, or PermissionDenied where there is nothing to save."""
        if not self.can_save(request):
            raise PermissionDenied
        for _, refusal in find_refusals(request.POST, (TOKEN_FIELD, VERSION_FIELD)):
            raise refusal
        assert_not_saved(self.context, self._form_scope, read_token(request))
        if not is_new:
            read_version(request)

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Any = None,
    ) -> HttpResponse:
        """Add the version of the object and the token of the form, as hidden fields. Title what cannot be saved by its name."""
        if request.method == "POST":  # the form has errors: it is still the one that was opened
            token, version = request.POST.get(TOKEN_FIELD, ""), request.POST.get(VERSION_FIELD, "")
        else:
            token, version = create_token(), self.get_version(obj) if obj else ""
        fields = {TOKEN_FIELD: token, VERSION_FIELD: version}
        context |= {"submission": fields, "related_links": self.get_related_links(obj) if obj else []}
        if obj and not self.can_save(request):
            context |= {"title": f"{capfirst(self.opts.verbose_name)} {obj}", "subtitle": None}
        return super().render_change_form(request, context, add, change, form_url, obj)

    @property
    def _form_scope(self) -> str:
        return f"form {self.opts.label_lower}"

    def get_version(self, obj: Any) -> str:
        """Return the version of an object, which its service compares with the one of the form."""
        return ""

    def save_form(self, request: HttpRequest, form: Any, change: bool) -> Any:
        """Keep the form for the message about a conflict."""
        request.submitted_form = form  # type: ignore[attr-defined]  # read by _get_submitted_form
        return super().save_form(request, form, change)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Save the form through the service, in one transaction with its token. Raises AlreadySaved."""
        with save_once(self.context, self._form_scope, read_token(request)):
            self.save_through_service(request, obj, form, change)

    def save_through_service(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Do nothing. A subclass with `editable` fields calls its service here, which must not call other contexts."""

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
        entries = audit.list_object_history(self.context, self.opts.model_name or "", obj.pk)
        currency = getattr(obj, self.currency_field, "")
        context = {
            **self.admin_site.each_context(request),
            "title": f"History of {obj}",
            "entries": [
                (entry, describe_detail(entry.detail, amounts=self.amounts, currency=currency)) for entry in entries
            ],
            "object": obj,
            "object_path": build_object_url(self.context, self.opts.model_name or "", obj.pk),
            "list_path": build_list_url(self.context, self.opts.model_name or ""),
            "opts": self.opts,
        }
        return TemplateResponse(request, self.object_history_template, context)


def _build_link_column(field: str, context: str, model: str) -> Callable[[Any], str]:
    @admin.display(description=field.removesuffix("_id").replace("_", " "), ordering=field)
    def column(row: Any) -> str:
        return link_to_object(context, model, getattr(row, field))

    return column


def _get_submitted_form(request: HttpRequest) -> Form:
    return cast(Form, request.submitted_form)  # type: ignore[attr-defined]  # set by save_form


def _describe_conflict(error: PreconditionFailed, form: Form) -> str:
    """Return who changed the object, and what was entered, so that it can be entered again."""
    entered = "; ".join(f"{form[name].label}: {_format_entry(form, name)}" for name in form.changed_data)
    at = error.changed_at.replace("T", " ").replace("Z", " UTC")
    message = f"Changed by {error.changed_by} at {at} since you opened this page. Nothing was saved."
    return f"{message} The page shows the current values. Your form had: {entered or 'the same values'}."


def _format_entry(form: Form, name: str) -> str:
    value = form.cleaned_data[name]
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value if isinstance(value, Model) else form.fields[name].prepare_value(value))


def _as_get(request: HttpRequest) -> HttpRequest:
    request.method = "GET"
    return request
