"""Look-ups in the query of a list: only those that the table declares. Others would read any column by its first characters."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.utils import get_fields_from_path
from django.core.exceptions import PermissionDenied
from django.db.models import DateField
from django.http import HttpRequest

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
else:
    ModelAdmin = admin.ModelAdmin


class DeclaredLookupsAdmin(ModelAdmin):
    """Deny each look-up that is none of the filters, the date hierarchy, or the `linked_lookups` of the table."""

    linked_lookups: tuple[str, ...] = ()  # look-ups of links from other pages, such as payment__id__exact

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return lookup in self.list_declared_lookups()

    def list_declared_lookups(self) -> set[str]:
        """Return the names that the query of the list may have, besides those for search, order and page."""
        declared = set(self.linked_lookups)
        for one in self.list_filter or ():
            if isinstance(one, type) and issubclass(one, admin.SimpleListFilter):
                declared.add(str(one.parameter_name))
            else:
                path = one[0] if isinstance(one, tuple | list) else one  # a field, or a field and its filter
                declared.update(self._list_field_lookups(str(path)))
        if self.date_hierarchy:
            declared.update(f"{self.date_hierarchy}__{part}" for part in ("year", "month", "day", "gte", "lt"))
        return declared

    def _list_field_lookups(self, path: str) -> Iterator[str]:
        """Return the look-ups of Django's filters for one field."""
        field = get_fields_from_path(self.model, path)[-1]
        yield f"{path}__isnull"
        if field.is_relation:
            yield f"{path}__{field.target_field.name}__exact"  # type: ignore[attr-defined]  # of a foreign key
        elif isinstance(field, DateField):
            yield from (f"{path}__gte", f"{path}__lt")
        else:
            yield from (path, f"{path}__exact")


def assert_autocomplete_allowed(site: admin.AdminSite, request: HttpRequest) -> None:
    """Raise PermissionDenied unless a table declares this field in `autocomplete_fields` and the caller can change it."""
    app, model, field = (request.GET.get(name, "") for name in ("app_label", "model_name", "field_name"))
    declaring = [
        one
        for table, one in site._registry.items()
        if (table._meta.app_label, table._meta.model_name) == (app, model) and field in one.autocomplete_fields
    ]
    if not any(one.has_change_permission(request) or one.has_add_permission(request) for one in declaring):
        raise PermissionDenied
