"""Look-ups in the query of a list: only those that the table declares. Others would read any column by its first characters."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.utils import get_fields_from_path
from django.core.exceptions import PermissionDenied
from django.db.models import DateField
from django.http import HttpRequest

from shop.admin.inputs import MAX_YEAR, Parse, build_number_parser, is_value, parse_flag

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
else:
    ModelAdmin = admin.ModelAdmin


class DeclaredLookupsAdmin(ModelAdmin):
    """Deny each look-up that is none of the filters, the date hierarchy, or the `linked_lookups` of the table, and each with
    a value that its field cannot have.
    """

    linked_lookups: tuple[str, ...] = ()  # look-ups of links from other pages, such as payment__id__exact

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        parse = self.list_declared_lookups().get(lookup)
        return parse is not None and is_value(parse, value)

    def list_declared_lookups(self) -> dict[str, Parse]:
        """Return what the query of the list may have, besides search, order and page: names, and how values are parsed."""
        declared: dict[str, Parse] = {}
        for one in self.list_filter or ():
            if isinstance(one, type) and issubclass(one, admin.SimpleListFilter):
                declared[str(one.parameter_name)] = str
            else:
                path = one[0] if isinstance(one, tuple | list) else one  # a field, or a field and its filter
                declared.update(self._list_field_lookups(str(path)))
        for lookup in self.linked_lookups:
            declared[lookup] = get_fields_from_path(self.model, lookup.removesuffix("__exact"))[-1].to_python
        if self.date_hierarchy:
            declared.update(self._list_date_lookups(self.date_hierarchy))
        return declared

    def _list_field_lookups(self, path: str) -> Iterator[tuple[str, Parse]]:
        """Return the look-ups of Django's filters for one field."""
        field = get_fields_from_path(self.model, path)[-1]
        yield f"{path}__isnull", parse_flag
        if field.is_relation:
            target = field.target_field  # type: ignore[attr-defined]  # of a foreign key
            yield f"{path}__{target.name}__exact", target.to_python
        elif isinstance(field, DateField):
            yield from ((f"{path}__{part}", field.to_python) for part in ("gte", "lt"))
        else:
            yield from ((name, field.to_python) for name in (path, f"{path}__exact"))

    def _list_date_lookups(self, path: str) -> Iterator[tuple[str, Parse]]:
        """Return the look-ups of the date hierarchy."""
        field = get_fields_from_path(self.model, path)[-1]
        yield from ((f"{path}__{part}", field.to_python) for part in ("gte", "lt"))
        for part, most in (("year", MAX_YEAR), ("month", 12), ("day", 31)):
            yield f"{path}__{part}", build_number_parser(most)


def assert_autocomplete_allowed(site: admin.AdminSite, request: HttpRequest, context: str) -> None:
    """Raise PermissionDenied unless a table of the context declares this field in `autocomplete_fields` and the caller can
    change it.
    """
    app, model, field = (request.GET.get(name, "") for name in ("app_label", "model_name", "field_name"))
    declaring = [
        one
        for table, one in site._registry.items()
        if (table._meta.app_label, table._meta.model_name) == (app, model)
        and app == context
        and field in one.autocomplete_fields
    ]
    if not any(one.has_change_permission(request) or one.has_add_permission(request) for one in declaring):
        raise PermissionDenied
