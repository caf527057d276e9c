"""Read the body and the query of a request, or name every fault in it.

msgspec decodes, as fast as it can. Only a request that it refuses is read a second time, to find all faults.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import msgspec
from django.conf import settings
from django.core.exceptions import TooManyFieldsSent
from msgspec import inspect
from rest_framework.request import Request

from shop.card_numbers import has_card_number
from shop.errors import FieldError
from shop.http import field_errors, json_syntax
from shop.http.json_pointers import quote_name, shorten
from shop.http.parameters import read_parameters
from shop.http.problems import BadBody, BadQuery, CardNumberRefused
from shop.text import has_invisible_characters

T = TypeVar("T")
Query = TypeVar("Query", bound=msgspec.Struct)
MAX_FAULTS_IN_DETAIL = 3
FORM_TYPES = ("multipart/form-data", "application/x-www-form-urlencoded")
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_TRUTH_VALUES = {"true": True, "1": True, "false": False, "0": False}


class RequestBody(msgspec.Struct, forbid_unknown_fields=True):
    """Base of the types of request bodies and of their parts. An unknown member is a fault, never ignored."""


class NoMembers(RequestBody):
    """The body of a request that takes none: it may be empty, or an object without members."""


class NoQuery(msgspec.Struct, forbid_unknown_fields=True):
    """A request that takes no query parameter."""


def read_body(request: Request, type_: type[T]) -> T:
    """Decode the JSON body of a request. Raises BadBody with every fault, CardNumberRefused, and TooLarge."""
    data = request._request.body
    try:
        if b"\\u0000" not in data or not _NUL.search(data):
            body = msgspec.json.decode(data, type=type_)
            if not json_syntax.has_repeated_members(data):
                _assert_texts_storable(data, body, type_)
                return body
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        pass
    raise _build_bad_body(data, type_)


# Outside of ASCII, an escape, or enough digits for a card number. Most bodies have none of them, and are not checked further.
_MAY_BE_UNSTORABLE = re.compile(rb"[\x7f-\xff\\]|[0-9](?:[^0-9A-Za-z]{0,3}[0-9]){12}")


def _assert_texts_storable(data: bytes, body: object, type_: Any) -> None:
    """Raise CardNumberRefused, or BadBody for invisible characters, if a text of a body has what no table may have."""
    if not _MAY_BE_UNSTORABLE.search(data) or not any(map(_is_suspicious, _list_texts(body))):
        return
    faults = field_errors.find_field_errors(json_syntax.parse_strictly(data), type_)
    if any(fault.code == field_errors.CARD_NUMBER for fault in faults):
        raise CardNumberRefused().with_field_errors(faults)
    if faults:
        raise BadBody(why=_summarize(faults)).with_field_errors(faults)


def _is_suspicious(text: str) -> bool:
    return has_invisible_characters(text) or has_card_number(text)


def _list_texts(part: object) -> Iterator[str]:
    """Yield every text in a decoded body."""
    if isinstance(part, str):
        yield part
    elif isinstance(part, msgspec.Struct):
        for name in part.__struct_fields__:
            yield from _list_texts(getattr(part, name))
    elif isinstance(part, Mapping):
        yield from (text for pair in part.items() for each in pair for text in _list_texts(each))
    elif isinstance(part, list | tuple | set | frozenset):
        yield from (text for each in part for text in _list_texts(each))


def refuse_body(request: Request) -> None:
    """Refuse members in the JSON body of a request that takes no body. Raises BadBody, TooLarge.

    A form is accepted, because the button of an HTML page sends one.
    """
    if not is_body_empty(request):
        read_body(request, NoMembers)


def is_body_empty(request: Request) -> bool:
    """Return whether a request has no body, or a form instead of JSON."""
    if request.META.get("CONTENT_LENGTH") in (None, "", "0") or request._request.content_type in FORM_TYPES:
        return True
    return not request._request.body.strip()


def refuse_query(request: Request, headers: Collection[str] = ()) -> None:
    """Refuse query parameters where a request takes none, so that none is ignored silently. Raises BadQuery.

    headers: those that the operation reads; the message names one that a parameter was meant to be (`token`: X-Order-Token).
    """
    if not request.META.get("QUERY_STRING"):
        return
    try:
        read_query(request, NoQuery)
    except BadQuery as refusal:
        faults = tuple(_name_header(fault, headers) for fault in refusal.field_errors)
        raise BadQuery(why=_summarize(faults)).with_field_errors(faults) from None


def _name_header(fault: FieldError, headers: Collection[str]) -> FieldError:
    parameter = str(fault.parameter).lower().replace("_", "-")
    meant = next((header for header in headers if f"-{header.lower()}".endswith(f"-{parameter}")), "")
    return msgspec.structs.replace(fault, detail=f"{fault.detail} Send it in the header {meant}.") if meant else fault


def _build_bad_body(data: bytes, type_: Any) -> BadBody:
    try:
        faults = field_errors.find_field_errors(json_syntax.parse_strictly(data), type_)
    except json_syntax.SyntaxFault as fault:
        faults = (fault.field_error,)
    except RecursionError:
        faults = (FieldError(pointer="", code="nested_too_deeply", detail="The JSON is nested too deeply."),)
    if not faults:  # only where any JSON is accepted
        detail = "Contains a member that occurs twice, or a character that a text cannot have."
        faults = (FieldError(pointer="", code="invalid", detail=detail),)
    return BadBody(why=_summarize(faults)).with_field_errors(faults)


def _summarize(faults: tuple[FieldError, ...]) -> str:
    """Describe the first faults in one text."""
    parts = [f"{place}: {fault.detail}" if (place := fault.pointer or fault.parameter) else fault.detail for fault in
             faults[:MAX_FAULTS_IN_DETAIL]]  # fmt: skip
    more = len(faults) - len(parts)
    return " ".join([*parts, f"And {more} more; see `errors`."] if more else parts)


def read_query(request: Request, type_: type[Query]) -> Query:
    """Decode the query string. Empty values of known parameters count as absent. Raises BadQuery with every fault."""
    given = dict(_list_parameters(request))
    known = type_.__struct_encode_fields__
    values = {name: last for name, [*_, last] in given.items() if last != "" or name not in known}
    faults = tuple(_find_query_faults(given, values, type_)) if _needs_check(given, values) else ()
    try:
        if not faults:
            return msgspec.convert(values, type=type_, strict=False)
    except msgspec.ValidationError:
        faults = tuple(_find_query_faults(given, values, type_))
    faults = faults or (FieldError(parameter=", ".join(values), code="invalid", detail="Is not valid."),)
    raise BadQuery(why=_summarize(faults)).with_field_errors(faults)


def _list_parameters(request: Request) -> Iterable[tuple[str, list[str]]]:
    try:
        return read_parameters(request).lists()
    except TooManyFieldsSent:
        detail = f"The query has more than {settings.DATA_UPLOAD_MAX_NUMBER_FIELDS:,} parameters."
        fault = FieldError(parameter="", code="too_many", detail=detail)
        raise BadQuery(why=detail).with_field_errors([fault]) from None


def _needs_check(given: Mapping[str, list[str]], values: Mapping[str, str]) -> bool:
    """Return whether msgspec would accept what may be a fault: repeated parameters, NUL, and `null` for no value."""
    is_repeated = any(len(all_values) > 1 for all_values in given.values())
    return is_repeated or any("\0" in value or value.lower() == "null" for value in values.values())


def _find_query_faults(given: dict[str, list[str]], values: dict[str, str], type_: Any) -> Iterator[FieldError]:
    """Yield the faults of query parameters, by parameter."""
    for name, all_values in given.items():
        if len(all_values) > 1:
            detail = f"{quote_name(name)} is given more than once."
            yield FieldError(parameter=shorten(name), code="repeated", detail=detail)
    fields = field_errors.describe_type(type_).fields  # type: ignore[attr-defined]  # of a struct
    types = {field.encode_name: field.type for field in fields}
    typed = {name: _parse_parameter(value, types[name]) if name in types else value for name, value in values.items()}
    for fault in field_errors.find_field_errors(typed, type_):
        code, detail = fault.code.replace("_member", "_parameter"), fault.detail.replace(", not text", "")
        yield FieldError(parameter=str(fault.pointer).removeprefix("/"), code=code, detail=detail)


def _parse_parameter(value: str, type_: inspect.Type) -> Any:
    """Convert the text of a parameter as its type is written in a query; the text itself if it cannot be converted."""
    if isinstance(type_, inspect.Metadata):
        return _parse_parameter(value, type_.type)
    if isinstance(type_, inspect.UnionType):
        parsed = (_parse_parameter(value, choice) for choice in type_.types)
        return next((found for found in parsed if not isinstance(found, str)), value)
    if isinstance(type_, inspect.BoolType):
        return _TRUTH_VALUES.get(value.lower(), value)
    if isinstance(type_, inspect.IntType) and re.fullmatch(r"[+-]?[0-9]{1,30}", value):
        return int(value)
    if isinstance(type_, inspect.FloatType) and re.fullmatch(r"[+-]?[0-9.]{1,30}([eE][+-]?[0-9]{1,3})?", value):
        return float(value)
    return value
