"""Find the faults of JSON values without parts: texts, numbers, choices and times. `field_errors` has those with parts."""

import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import inspect

from shop.card_numbers import has_card_number
from shop.errors import FieldError
from shop.text import format_count, has_invisible_characters, pluralize

CARD_NUMBER = "card_number"

_SURROGATES = re.compile("[\ud800-\udfff]")
_KIND_NAMES = {
    dict: "an object",
    list: "a list",
    str: "text",
    bool: "true or false",
    int: "a number",
    float: "a number",
    type(None): "null",
}


def build_fault(pointer: str, code: str, detail: str) -> FieldError:
    """Build the fault of a value at this place."""
    return FieldError(pointer=pointer, code=code, detail=detail)


def build_wrong_type(value: Any, wanted: str, pointer: str) -> FieldError:
    """Build the fault of a value of another JSON type. wanted: the right one, in words."""
    given = "a number with a fraction" if isinstance(value, float) else _KIND_NAMES[_kind(value)]
    return build_fault(pointer, "wrong_type", f"Must be {wanted}, not {given}.")


def _kind(value: Any) -> type:
    return dict if isinstance(value, dict) else type(value)


def name_type(type_: inspect.Type) -> str:
    """Return the JSON type of a type in words."""
    if isinstance(type_, inspect.Metadata):
        return name_type(type_.type)
    names: dict[type[inspect.Type], str] = {
        inspect.StructType: "an object",
        inspect.DictType: "an object",
        inspect.ListType: "a list",
        inspect.IntType: "a whole number",
        inspect.FloatType: "a number",
        inspect.BoolType: "true or false",
        inspect.NoneType: "null",
    }
    return names.get(type(type_), "text")


def check_length(
    length: int, type_: Any, pointer: str, one: str, several: str, few: str, many: str
) -> Iterator[FieldError]:
    """Check the length of a text, a list or an object, whose parts are named by the words given."""
    least, most = type_.min_length or 0, type_.max_length
    if length < least:
        yield build_fault(pointer, f"too_{few}", f"Must have at least {format_count(least, one, several)}.")
    elif most is not None and length > most:
        yield build_fault(
            pointer, f"too_{many}", f"Must have at most {most:,} {pluralize(most, one, several)}, not {length:,}."
        )


def check_text(value: Any, type_: inspect.StrType, pointer: str, meta: Mapping[str, Any]) -> Iterator[FieldError]:
    """Check a text. meta: the `extra` of its type, with the format in words (`expected`) and the kind of `content`."""
    expected = meta.get("expected", "")
    if not isinstance(value, str):
        yield build_wrong_type(value, "text", pointer)
    elif "\0" in value or _SURROGATES.search(value):
        yield build_fault(pointer, "invalid_character", "Contains a character that a text cannot have.")
    elif value == "" and (type_.min_length or (type_.pattern and not re.search(type_.pattern, value))):
        yield build_fault(pointer, "blank", f"Must not be empty.{_expect(expected)}")
    else:
        lengths = tuple(check_length(len(value), type_, pointer, "character", "characters", "short", "long"))
        yield from lengths
        if not lengths and type_.pattern and not re.search(type_.pattern, value):
            yield build_fault(pointer, "invalid_format", f"Does not have the required format.{_expect(expected)}")
        elif not lengths:
            yield from _check_content(value, meta.get("content", ""), pointer)


def _check_content(text: str, content: str, pointer: str) -> Iterator[FieldError]:
    """Check what people type: no invisible characters, and no card numbers.

    content: `secret` and `code` are not checked: they are hashed, or compared with what is known. `email`: an address, with
    rules of its own. `lines`: a description, with line breaks and numbers of articles. `phone`: a phone number. Any other text
    is one line.
    """
    if content in ("secret", "code"):
        return
    has_lines = content == "lines"
    if content != "email" and has_invisible_characters(text, has_lines=has_lines):
        yield build_fault(pointer, "invalid_character", "Contains a control character or an invisible character.")
    elif has_card_number(text, is_phone=content == "phone", may_have_barcodes=has_lines):
        yield build_fault(pointer, CARD_NUMBER, "Contains the number of a payment card, which must not be stored.")


def _expect(expected: str) -> str:
    return f" Use {expected}." if expected else ""


def check_number(value: Any, type_: inspect.IntType | inspect.FloatType, pointer: str) -> Iterator[FieldError]:
    """Check a number, and that a whole one is written as such."""
    wanted = name_type(type_)
    if not isinstance(value, int | float) or isinstance(value, bool):
        yield build_wrong_type(value, wanted, pointer)
    elif isinstance(type_, inspect.IntType) and isinstance(value, float) and value not in (float("inf"), float("-inf")):
        yield build_fault(pointer, "wrong_type", f"Must be {wanted}, written without a decimal point or an exponent.")
    elif not _is_in_range(value, type_):
        yield build_fault(pointer, "out_of_range", f"Must be {_describe_range(type_)}.")


def _is_in_range(value: float, type_: inspect.IntType | inspect.FloatType) -> bool:
    least, most = _range(type_)
    if (type_.gt is not None and value <= type_.gt) or (type_.lt is not None and value >= type_.lt):
        return False
    return least <= value <= most and (type_.multiple_of is None or value % type_.multiple_of == 0)


def _range(type_: inspect.IntType | inspect.FloatType) -> tuple[float, float]:
    """Return the smallest and the greatest number of a type. msgspec reads integers of up to 64 bits."""
    limit: float = 2**63 - 1 if isinstance(type_, inspect.IntType) else 1.7976931348623157e308
    return (-limit if type_.ge is None else type_.ge), (limit if type_.le is None else type_.le)


def _describe_range(type_: inspect.IntType | inspect.FloatType) -> str:
    least, most = _range(type_)
    if type_.multiple_of is not None:
        return f"a multiple of {type_.multiple_of:,}"
    if type_.ge is not None and type_.le is None:
        return f"{least:,} or more"
    if type_.gt is not None:
        return f"more than {type_.gt:,}"
    return f"less than {type_.lt:,}" if type_.lt is not None else f"between {least:,} and {most:,}"


def check_scalar(value: Any, type_: inspect.Type, pointer: str) -> Iterator[FieldError]:
    """Check a value of a type without parts and without limits."""
    if isinstance(type_, inspect.LiteralType | inspect.EnumType):
        values = type_.values if isinstance(type_, inspect.LiteralType) else [member.value for member in type_.cls]
        if value not in values or isinstance(value, bool):
            yield build_fault(pointer, "not_allowed", f"Must be one of: {', '.join(map(str, values))}.")
    elif isinstance(type_, inspect.BoolType):
        if not isinstance(value, bool):
            yield build_wrong_type(value, "true or false", pointer)
    elif isinstance(type_, inspect.NoneType):
        if value is not None:
            yield build_wrong_type(value, "null", pointer)
    elif type(type_) in _TEXT_FORMATS:
        yield from _check_text_format(value, type_, pointer)


_TEXT_FORMATS: dict[type[inspect.Type], tuple[type, str]] = {
    inspect.UUIDType: (UUID, "a UUID such as 01890a5d-ac96-774b-bcce-b302099a8057"),
    inspect.DateTimeType: (datetime, "a time in RFC 3339, such as 2026-01-31T12:00:00Z"),
    inspect.DateType: (date, "a date such as 2026-01-31"),
}


def _check_text_format(value: Any, type_: inspect.Type, pointer: str) -> Iterator[FieldError]:
    decoded_type, wanted = _TEXT_FORMATS[type(type_)]
    if not isinstance(value, str):
        yield build_wrong_type(value, "text", pointer)
        return
    try:
        msgspec.convert(value, decoded_type)
    except msgspec.ValidationError:
        yield build_fault(pointer, "invalid_format", f"Must be {wanted}.")
