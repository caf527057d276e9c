"""Keyset pagination: select the pages of a list by the values of its whole ordering.

A cursor contains the ordering values of the row at the edge of a page, and the next page is what the ordering puts after
them. So the last page of a long list is as fast as the first, however many rows share some of the values, and a row that
exists throughout is returned exactly once, whichever others are inserted or deleted meanwhile. A row whose own ordering
values change may be returned twice or not at all.
"""

import base64
import hmac
from collections.abc import Callable, Sequence
from functools import reduce
from operator import or_
from typing import Annotated, Any, Generic, NamedTuple, TypeVar
from urllib.parse import urlsplit

import msgspec
from django.db.models import F, Q, QuerySet
from django.db.models.expressions import Expression
from django.db.models.fields.tuple_lookups import TupleGreaterThan, TupleLessThan
from django.utils.crypto import salted_hmac
from rest_framework.request import Request

from shop.errors import FieldError
from shop.http.parameters import read_parameters
from shop.http.problems import BadQuery
from shop.keyed_hashes import get_secrets

MAX_PAGE_SIZE = 100
CURSOR_VERSION = b"\x01"
SIGNATURE_BYTES = 12

T = TypeVar("T")

PageCursor = Annotated[str, msgspec.Meta(max_length=4000)]


class Page(msgspec.Struct, Generic[T]):
    """One page of a list, with the URLs of the next and the previous page."""

    results: list[T]
    next: str | None = None
    previous: str | None = None


class PageQuery(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The query parameters that select a page of a list."""

    page_size: Annotated[int, msgspec.Meta(ge=1, le=MAX_PAGE_SIZE, description="Entries of one page.")] = 20
    cursor: Annotated[
        PageCursor,
        msgspec.Meta(description="`next` or `previous` of another page of this list: the URL, or its `cursor` alone."),
    ] = ""


class Position(msgspec.Struct, frozen=True, array_like=True):
    """The place where a page begins: after these ordering values, or before them for a page that is read backwards.

    Without values, the place is the beginning of the list, or its end.
    """

    is_backward: bool = False
    values: list[Any] | None = None  # of the types that JSON has; the model fields convert them


_decoder = msgspec.json.Decoder(Position)


class Column(NamedTuple):
    """One column of an ordering."""

    name: str
    is_descending: bool
    is_nullable: bool
    is_unique: bool


def paginate(
    request: Request,
    query: PageQuery,
    queryset: QuerySet[Any, Any],
    *,
    ordering: Sequence[str],
    to_view: Callable[[list[Any]], list[T]],
    never_null: Sequence[str] = (),
) -> Page[T]:
    """Return one page of a queryset (or of its `.values()`), converted by `to_view`.

    ordering: names of fields or annotations, each with "-" in front for descending. One of them must be unique and
    never NULL, so that no two rows are equal.
    never_null: names of annotations, and of nullable fields, that are not NULL in any row of the queryset. Where no column
    is ever NULL and all have the same direction, PostgreSQL reads a page from an index on them.
    Raises BadQuery for a cursor that this list has not issued.
    """
    columns = _build_columns(queryset, ordering, never_null)
    list_name = f"{queryset.model._meta.label} {' '.join(ordering)}"
    position = _decode(query.cursor, list_name) if query.cursor else Position()
    rows, has_more = _fetch_page(queryset, columns, position, query.page_size)
    following, preceding = _find_neighbours(rows, columns, position, has_more)
    return Page(
        results=to_view(rows),
        next=_build_url(request, _encode(following, list_name)) if following else None,
        previous=_build_url(request, _encode(preceding, list_name)) if preceding else None,
    )


def _build_columns(queryset: QuerySet[Any, Any], ordering: Sequence[str], never_null: Sequence[str]) -> list[Column]:
    columns = []
    for item in ordering:
        name = item.removeprefix("-")
        annotation = queryset.query.annotations.get(name)
        field = queryset.model._meta.get_field(name) if annotation is None else None
        is_nullable = getattr(field, "null", True) and name not in never_null
        is_unique = getattr(field, "unique", False) and not is_nullable
        columns.append(Column(name, item != name, is_nullable, is_unique))
    if not any(column.is_unique for column in columns):
        raise ValueError(f"an ordering needs a unique column, which {' '.join(ordering)} has not")
    return columns


def _fetch_page(
    queryset: QuerySet[Any, Any], columns: list[Column], position: Position, page_size: int
) -> tuple[list[Any], bool]:
    """Return the rows of a page in the order of the list, and whether there are more rows in its direction."""
    if position.values is not None:
        queryset = queryset.filter(_build_condition(columns, position.values, is_backward=position.is_backward))
    ordered = queryset.order_by(
        *(f"-{column.name}" if column.is_descending != position.is_backward else column.name for column in columns)
    )
    rows = list(ordered[: page_size + 1])
    page = rows[:page_size]
    return page[::-1] if position.is_backward else page, len(rows) > page_size


def _build_condition(columns: list[Column], values: list[Any], *, is_backward: bool) -> Expression | Q:
    """Build the condition that a row comes after these values of the ordering; with is_backward, before them.

    Comparing whole rows lets PostgreSQL start at the place in an index. It compares all columns in one direction, and
    no NULL.
    """
    descending = [column.is_descending != is_backward for column in columns]
    is_uniform = len(set(descending)) == 1
    if is_uniform and not any(column.is_nullable for column in columns):
        lookup = TupleLessThan if descending[0] else TupleGreaterThan
        condition: Expression = lookup(tuple(F(column.name) for column in columns), tuple(values))
        return condition
    alternatives, equal = [], Q()
    for column, value, is_descending in zip(columns, values, descending, strict=True):
        after = _is_after(column, value, is_descending=is_descending)
        if after is not None:
            alternatives.append(equal & after)
        equal &= Q(**{f"{column.name}__isnull": True}) if value is None else Q(**{column.name: value})
    return _bound_first_column(columns[0], values[0], is_descending=descending[0]) & reduce(or_, alternatives)


def _is_after(column: Column, value: Any, *, is_descending: bool) -> Q | None:
    """Build the condition that one column alone is after a value, or return None if no value is. NULL is the greatest."""
    if value is None:
        return Q(**{f"{column.name}__isnull": False}) if is_descending else None
    after = Q(**{f"{column.name}__{'lt' if is_descending else 'gt'}": value})
    return after | Q(**{f"{column.name}__isnull": True}) if column.is_nullable and not is_descending else after


def _bound_first_column(column: Column, value: Any, *, is_descending: bool) -> Q:
    """Build a condition that the alternatives imply, for an index on the first column."""
    if column.is_nullable:
        return Q()
    return Q(**{f"{column.name}__{'lte' if is_descending else 'gte'}": value})


def _find_neighbours(
    rows: list[Any], columns: list[Column], position: Position, has_more: bool
) -> tuple[Position | None, Position | None]:
    """Return the positions of the next and the previous page.

    There is always a page on the side that the caller has come from. If this page is empty, that is the one at the edge.
    """
    came_from_a_page = position.values is not None
    has_next, has_previous = (came_from_a_page, has_more) if position.is_backward else (has_more, came_from_a_page)
    last = _get_values(rows[-1], columns) if rows else None
    first = _get_values(rows[0], columns) if rows else None
    return (
        Position(is_backward=False, values=last) if has_next else None,
        Position(is_backward=True, values=first) if has_previous else None,
    )


def _get_values(row: Any, columns: list[Column]) -> list[Any]:
    return [row[column.name] if isinstance(row, dict) else getattr(row, column.name) for column in columns]


def _encode(position: Position, list_name: str) -> str:
    """Encode a position as a signed cursor, which is valid for lists with this name."""
    content = msgspec.json.encode(position)
    return _to_text(CURSOR_VERSION + _sign(content, list_name, get_secrets()[0]) + content)


def _decode(cursor: str, list_name: str) -> Position:
    try:
        data = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except ValueError:  # includes text that is not ASCII
        raise _invalid_cursor() from None
    start = len(CURSOR_VERSION) + SIGNATURE_BYTES
    signed = [CURSOR_VERSION + _sign(data[start:], list_name, secret) for secret in get_secrets()]
    is_signed = any([hmac.compare_digest(one, data[:start]) for one in signed])
    if _to_text(data) != cursor or not is_signed:
        raise _invalid_cursor()
    return _decoder.decode(data[start:])


def _to_text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _sign(content: bytes, list_name: str, secret: str) -> bytes:
    """Compute the signature that proves that this list has issued the content."""
    salt = f"shop.http.pagination {list_name}"
    return salted_hmac(salt, content, secret, algorithm="sha256").digest()[:SIGNATURE_BYTES]


def _invalid_cursor() -> BadQuery:
    detail = "Not valid for this list. Use `next` or `previous` of a page, or omit it to get the first page."
    fault = FieldError(parameter="cursor", code="invalid", detail=detail)
    return BadQuery(why=f"cursor: {detail}").with_field_errors((fault,))


def _build_url(request: Request, cursor: str) -> str:
    parameters = read_parameters(request).copy()
    parameters["cursor"] = cursor
    return f"{request.build_absolute_uri(urlsplit(request.get_full_path()).path)}?{parameters.urlencode()}"
