"""Input of staff to the admin, checked before Django's views read it: some values would make them fail."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache
from types import new_class
from typing import Any, TypeVar, cast

from django import forms
from django.apps import apps
from django.contrib.admin.widgets import AutocompleteSelect
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.db.models import Field, JSONField, TextField
from django.http import HttpRequest, QueryDict
from django.urls import reverse

from shop.card_numbers import has_card_number, remove_card_numbers
from shop.errors import DomainError, Invalid
from shop.http.problems import CardNumberRefused
from shop.text import has_invisible_characters

NOT_A_VALUE = (ValidationError, ValueError, TypeError, OverflowError)
MAX_YEAR = 9998  # the end of a year, in any time zone, is a date that Python and PostgreSQL know
CODE_FIELDS = ("sku",)  # of the catalogue: many shops use the number of the article
Parse = Callable[[str], object]
View = TypeVar("View", bound=Callable[..., object])
AnyForm = TypeVar("AnyForm", bound=forms.BaseForm)


class NullCharacter(Invalid):
    """A value has the character U+0000, which no text contains. Remove it, and send the page again."""


class InvisibleCharacter(Invalid):
    """The field “{field}” has a control character or an invisible character. Remove it, and send the page again."""

    field: str


class UnknownSelection(Invalid):
    """A selected row has no valid key. Open the list again, and select the rows there."""


def refuses_texts(view: View) -> View:
    """Mark a page of the admin that shows itself, at the field, which entered text it refuses. Others get an error page."""
    view.refuses_texts = True  # type: ignore[attr-defined]  # read by find_unacceptable_input, through Django's wrappers
    return view


def find_unacceptable_input(request: HttpRequest, view: Callable[..., object]) -> DomainError | None:
    """Return why a request of staff is refused before any page reads it: nothing of it is stored, searched or repeated."""
    if has_null_character(request):
        return NullCharacter()
    if getattr(view, "refuses_texts", False):
        return None
    return next((refusal for _, refusal in find_refusals(request.POST)), None)


def find_refusals(entered: Mapping[str, Any], names: Collection[str] = ()) -> Iterator[tuple[str, DomainError]]:
    """Yield the fields of a form with a text that no table may have, and why. names: only of these fields, if there are any."""
    for name, values in cast(QueryDict, entered).lists():
        refusals = (_find_refusal(name, str(value)) for value in (name, *values) if not names or name in names)
        if refusal := next(filter(None, refusals), None):
            yield name, refusal


def _find_refusal(field: str, text: str) -> DomainError | None:
    if "password" in field or field in CODE_FIELDS:
        return None
    has_lines = field in _list_fields_with_lines()
    if has_invisible_characters(text, has_lines=has_lines):
        return InvisibleCharacter(field=field)
    return CardNumberRefused() if has_card_number(text, may_have_barcodes=has_lines) else None


@cache
def _list_fields_with_lines() -> frozenset[str]:
    """Return the names of the columns for long texts and lists, whose fields in forms have several lines."""
    columns = (field for model in apps.get_models() for field in model._meta.get_fields())
    return frozenset(field.name for field in columns if isinstance(field, TextField | JSONField | ArrayField))


def has_null_character(request: HttpRequest) -> bool:
    """Return whether the path, the query or a field has U+0000: PostgreSQL neither stores nor compares such a text."""
    texts = [request.path, *_list_texts(request.GET.lists())]
    if request.method == "POST":
        texts += _list_texts(request.POST.lists())
    return any("\0" in text for text in texts)


def _list_texts(lists: Iterable[tuple[str, list[Any]]]) -> list[str]:
    return [text for name, values in lists for text in (name, *map(str, values))]


class CheckedForm(forms.BaseForm):
    """A form that refuses a text which no table may have, at its field. It does not show a card number again."""

    def _clean_fields(self) -> None:
        super()._clean_fields()  # type: ignore[misc]  # private in Django
        for name, refusal in tuple(find_refusals(self.data)):
            if name not in self.errors:
                self.add_error(name if name in self.fields else None, str(refusal))
            if isinstance(refusal, CardNumberRefused):
                self.data = cast(QueryDict, self.data).copy()
                self.data.setlist(name, [remove_card_numbers(text) for text in self.data.getlist(name)])


def check_texts(form: type[AnyForm]) -> type[AnyForm]:
    """Return a form class that also is a CheckedForm."""
    return cast(type[AnyForm], new_class(form.__name__, (CheckedForm, form)))


def assert_keys_valid(field: "Field[Any, Any]", keys: Iterable[str]) -> None:
    """Raise UnknownSelection if one of these cannot be a key of a table."""
    if not all(is_value(field.to_python, key) for key in keys):
        raise UnknownSelection


def is_value(parse: Parse, text: str) -> bool:
    """Return whether a text can be parsed."""
    try:
        parse(text)
    except NOT_A_VALUE:
        return False
    return True


def parse_flag(text: str) -> None:
    """Parse a value of `isnull`. Raises ValueError."""
    if text not in ("0", "1", "False", "True", "false", "true", ""):
        raise ValueError(text)


def build_number_parser(most: int) -> Parse:
    """Return a function that parses a number from 1 to `most`, such as a month. It raises ValueError."""

    def parse(text: str) -> None:
        if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= most):
            raise ValueError(text)

    return parse


class KeySelect(AutocompleteSelect):
    """A choice of an object by search. Django's raises an error for a value that no key can have, as in ?product=x."""

    def get_url(self) -> str:
        return reverse("admin:autocomplete", args=[self.field.model._meta.app_label])

    def optgroups(self, name: str, value: Sequence[str], attr: Any = None) -> Any:
        """Return the chosen objects, without values that are no keys: the field itself refuses them."""
        model = self.field.remote_field.model
        return super().optgroups(name, [each for each in value if is_value(model._meta.pk.to_python, each)], attr)
