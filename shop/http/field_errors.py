"""Find every fault of a decoded JSON value, in plain words and with JSON pointers.

msgspec stops at the first fault and describes it in terms of its own types. After it has refused a request, this walks
through the value and the type side by side. A struct may add faults that its types cannot express:

    class Address(RequestBody):
        @classmethod
        def find_faults(cls, members: Mapping[str, Any]) -> Iterator[FieldError]: ...

gets the members that are valid by themselves, and yields faults with pointers relative to the struct. Its
`__post_init__` has to refuse the same values, because it is what runs while a request is decoded.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from difflib import get_close_matches
from functools import cache
from itertools import islice
from typing import Any
from uuid import UUID

import msgspec
from msgspec import inspect

from shop.errors import FieldError
from shop.http.json_pointers import join, quote_name
from shop.http.json_syntax import ObjectWithRepeats

MAX_FIELD_ERRORS = 50  # of one request
FIELD_ERROR_CODES = {
    "required": "The member is missing.",
    "blank": "The text is empty, or has only spaces.",
    "unknown_member": "The object has a member that this operation does not know.",
    "duplicate_member": "The member occurs more than once in one object.",
    "unknown_parameter": "The query has a parameter that this operation does not know.",
    "repeated": "The query parameter is given more than once.",
    "wrong_type": "The value has another JSON type than required.",
    "invalid_format": "The text does not have the required format.",
    "invalid_character": "The text has a control character, an invisible character, or half of a surrogate pair.",
    "not_allowed": "The value is not one of those that are allowed.",
    "out_of_range": "The number is too small or too large.",
    "too_short": "The text has too few characters.",
    "too_long": "The text has too many characters.",
    "too_few": "The list or the object has too few entries.",
    "too_many": "The list or the object has too many entries.",
    "syntax": "The body is not a JSON text.",
    "not_utf_8": "The body is not UTF-8.",
    "nested_too_deeply": "The body is nested too deeply.",
    "invalid": "The value is not valid for another reason.",
}
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


@cache
def describe_type(type_: Any) -> inspect.Type:
    """Return msgspec's description of a type."""
    return inspect.type_info(type_)


def find_field_errors(value: Any, type_: Any, pointer: str = "") -> tuple[FieldError, ...]:
    """Return the faults of a value that has to fit a type, the first MAX_FIELD_ERRORS of them."""
    return tuple(islice(_check(value, describe_type(type_), pointer), MAX_FIELD_ERRORS))


def find_lenient_structs(*types: Any) -> list[str]:
    """Return the names of structs in these types that would ignore an unknown member. None is ignored."""
    found: dict[str, bool] = {}
    for type_ in types:
        _collect_structs(inspect.type_info(type_) if type_ is not None else None, found)
    return [name for name, is_strict in found.items() if not is_strict]


def _collect_structs(part: Any, found: dict[str, bool]) -> None:
    if isinstance(part, inspect.StructType):
        if part.cls.__name__ in found:
            return
        found[part.cls.__name__] = part.forbid_unknown_fields
    if isinstance(part, tuple):
        for entry in part:
            _collect_structs(entry, found)
    elif isinstance(part, msgspec.Struct):
        for name in part.__struct_fields__:
            _collect_structs(getattr(part, name), found)


def _fault(pointer: str, code: str, detail: str) -> FieldError:
    return FieldError(pointer=pointer, code=code, detail=detail)


def _check(value: Any, type_: inspect.Type, pointer: str, expected: str = "") -> Iterator[FieldError]:
    if isinstance(type_, inspect.Metadata):
        expected = (type_.extra or {}).get("expected", expected)
        yield from _check(value, type_.type, pointer, expected)
    elif isinstance(type_, inspect.UnionType):
        yield from _check_union(value, type_, pointer, expected)
    elif isinstance(type_, inspect.StructType):
        yield from _check_struct(value, type_, pointer)
    elif isinstance(type_, inspect.ListType | inspect.VarTupleType | inspect.SetType | inspect.FrozenSetType):
        yield from _check_list(value, type_, pointer)
    elif isinstance(type_, inspect.DictType):
        yield from _check_dict(value, type_, pointer)
    elif isinstance(type_, inspect.StrType):
        yield from _check_text(value, type_, pointer, expected)
    elif isinstance(type_, inspect.IntType | inspect.FloatType):
        yield from _check_number(value, type_, pointer)
    else:
        yield from _check_scalar(value, type_, pointer)


def _wrong_type(value: Any, wanted: str, pointer: str) -> FieldError:
    given = "a number with a fraction" if isinstance(value, float) else _KIND_NAMES[_kind(value)]
    return _fault(pointer, "wrong_type", f"Must be {wanted}, not {given}.")


def _kind(value: Any) -> type:
    return dict if isinstance(value, dict) else type(value)


def _check_union(value: Any, type_: inspect.UnionType, pointer: str, expected: str) -> Iterator[FieldError]:
    """Check a value against the type of a union that its JSON type fits."""
    if value is None and type_.includes_none:
        return
    choices = [choice for choice in type_.types if not isinstance(choice, inspect.NoneType)]
    faults = [tuple(islice(_check(value, choice, pointer, expected), MAX_FIELD_ERRORS)) for choice in choices]
    if () in faults:
        return
    fitting = [found for found in faults if (found[0].pointer, found[0].code) != (pointer, "wrong_type")]
    if len(choices) == 1 or fitting:
        yield from (fitting or faults)[0]
    else:
        yield _wrong_type(value, " or ".join(dict.fromkeys(_name_of(choice) for choice in choices)), pointer)


def _name_of(type_: inspect.Type) -> str:
    if isinstance(type_, inspect.Metadata):
        return _name_of(type_.type)
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


def _check_struct(value: Any, type_: inspect.StructType, pointer: str) -> Iterator[FieldError]:
    if not isinstance(value, dict):
        yield _wrong_type(value, "an object", pointer)
        return
    valid = {}
    for field in type_.fields:
        name, place = field.encode_name, join(pointer, field.encode_name)
        if name not in value:
            if field.required:
                yield _fault(place, "required", f"{quote_name(name)} is required.")
            continue
        faults = tuple(islice(_check(value[name], field.type, place), MAX_FIELD_ERRORS))
        yield from faults
        if not faults:
            valid[name] = value[name]
    yield from _check_names(value, type_, pointer)
    yield from _find_own_faults(value, valid, type_, pointer)


def _check_names(value: dict[str, Any], type_: inspect.StructType, pointer: str) -> Iterator[FieldError]:
    """Check that every member is known, and occurs once."""
    known = [field.encode_name for field in type_.fields] + [type_.tag_field or ""]
    for name in getattr(value, "repeated", ()):
        yield _fault(join(pointer, name), "duplicate_member", f"{quote_name(name)} occurs more than once.")
    if not type_.forbid_unknown_fields:
        return
    for name in value:
        if name not in known:
            yield _fault(
                join(pointer, name), "unknown_member", f"{quote_name(name)} is not known here.{_hint(name, known)}"
            )


def _hint(name: str, known: list[str]) -> str:
    """Suggest the name that the client may have meant."""
    similar = get_close_matches(name, known, n=1, cutoff=0.75) if len(name) <= 40 else []
    return f" Did you mean {quote_name(similar[0])}?" if similar else ""


def _find_own_faults(
    value: dict[str, Any], valid: Mapping[str, Any], type_: inspect.StructType, pointer: str
) -> Iterator[FieldError]:
    """Yield the faults that the struct itself finds, except for members that already have one."""
    find_faults = getattr(type_.cls, "find_faults", None)
    if find_faults is None:
        return
    broken = {join("", name) for name in value if name not in valid}
    for fault in find_faults(valid):
        if fault.pointer not in broken:
            yield msgspec.structs.replace(fault, pointer=pointer + fault.pointer)


def _check_list(value: Any, type_: Any, pointer: str) -> Iterator[FieldError]:
    if not isinstance(value, list):
        yield _wrong_type(value, "a list", pointer)
        return
    yield from _check_length(len(value), type_, pointer, "entry", "entries", "few", "many")
    for position, item in enumerate(value[: type_.max_length]):
        yield from _check(item, type_.item_type, join(pointer, position))


def _check_dict(value: Any, type_: inspect.DictType, pointer: str) -> Iterator[FieldError]:
    if not isinstance(value, dict):
        yield _wrong_type(value, "an object", pointer)
        return
    yield from _check_length(len(value), type_, pointer, "member", "members", "few", "many")
    for name in value.repeated if isinstance(value, ObjectWithRepeats) else ():
        yield _fault(join(pointer, name), "duplicate_member", f"{quote_name(name)} occurs more than once.")
    for name, member in value.items():
        yield from _check(name, type_.key_type, join(pointer, name))
        yield from _check(member, type_.value_type, join(pointer, name))


def _check_length(
    length: int, type_: Any, pointer: str, one: str, several: str, few: str, many: str
) -> Iterator[FieldError]:
    least, most = type_.min_length or 0, type_.max_length
    if length < least:
        yield _fault(pointer, f"too_{few}", f"Must have at least {least} {one if least == 1 else several}.")
    elif most is not None and length > most:
        yield _fault(
            pointer, f"too_{many}", f"Must have at most {most:,} {one if most == 1 else several}, not {length:,}."
        )


def _check_text(value: Any, type_: inspect.StrType, pointer: str, expected: str) -> Iterator[FieldError]:
    if not isinstance(value, str):
        yield _wrong_type(value, "text", pointer)
    elif "\0" in value or _SURROGATES.search(value):
        yield _fault(pointer, "invalid_character", "Contains a character that a text cannot have.")
    elif value == "" and (type_.min_length or (type_.pattern and not re.search(type_.pattern, value))):
        yield _fault(pointer, "blank", f"Must not be empty.{_expect(expected)}")
    else:
        lengths = tuple(_check_length(len(value), type_, pointer, "character", "characters", "short", "long"))
        yield from lengths
        if not lengths and type_.pattern and not re.search(type_.pattern, value):
            yield _fault(pointer, "invalid_format", f"Does not have the required format.{_expect(expected)}")


def _expect(expected: str) -> str:
    return f" Use {expected}." if expected else ""


def _check_number(value: Any, type_: inspect.IntType | inspect.FloatType, pointer: str) -> Iterator[FieldError]:
    wanted = _name_of(type_)
    if not isinstance(value, int | float) or isinstance(value, bool):
        yield _wrong_type(value, wanted, pointer)
    elif isinstance(type_, inspect.IntType) and isinstance(value, float) and value not in (float("inf"), float("-inf")):
        yield _fault(pointer, "wrong_type", f"Must be {wanted}, written without a decimal point or an exponent.")
    elif not _is_in_range(value, type_):
        yield _fault(pointer, "out_of_range", f"Must be {_describe_range(type_)}.")


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


def _check_scalar(value: Any, type_: inspect.Type, pointer: str) -> Iterator[FieldError]:
    """Check a value of a type without parts and without limits."""
    if isinstance(type_, inspect.LiteralType | inspect.EnumType):
        values = type_.values if isinstance(type_, inspect.LiteralType) else [member.value for member in type_.cls]
        if value not in values or isinstance(value, bool):
            yield _fault(pointer, "not_allowed", f"Must be one of: {', '.join(map(str, values))}.")
    elif isinstance(type_, inspect.BoolType):
        if not isinstance(value, bool):
            yield _wrong_type(value, "true or false", pointer)
    elif isinstance(type_, inspect.NoneType):
        if value is not None:
            yield _wrong_type(value, "null", pointer)
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
        yield _wrong_type(value, "text", pointer)
        return
    try:
        msgspec.convert(value, decoded_type)
    except msgspec.ValidationError:
        yield _fault(pointer, "invalid_format", f"Must be {wanted}.")
