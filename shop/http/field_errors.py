"""Find every fault of a decoded JSON value, in plain words and with JSON pointers.

msgspec stops at the first fault and describes it in terms of its own types. After it has refused a request, this walks
through the value and the type side by side. A struct may add faults that its types cannot express:

    class Address(RequestBody):
        @classmethod
        def find_faults(cls, members: Mapping[str, Any]) -> Iterator[FieldError]: ...

gets the members that are valid by themselves, and yields faults with pointers relative to the struct. Its
`__post_init__` has to refuse the same values, because it is what runs while a request is decoded.
"""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from itertools import islice
from types import MappingProxyType
from typing import Any

import msgspec
from msgspec import inspect

from shop.errors import FieldError
from shop.http.field_values import CARD_NUMBER as CARD_NUMBER
from shop.http.field_values import (
    build_fault,
    build_wrong_type,
    check_length,
    check_number,
    check_scalar,
    check_text,
    name_type,
)
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
    "card_number": "The text has the number of a payment card, which must not be stored.",
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


def _check(
    value: Any, type_: inspect.Type, pointer: str, meta: Mapping[str, Any] = MappingProxyType({})
) -> Iterator[FieldError]:
    if isinstance(type_, inspect.Metadata):
        yield from _check(value, type_.type, pointer, {**meta, **(type_.extra or {})})
    elif isinstance(type_, inspect.UnionType):
        yield from _check_union(value, type_, pointer, meta)
    elif isinstance(type_, inspect.StructType):
        yield from _check_struct(value, type_, pointer)
    elif isinstance(type_, inspect.ListType | inspect.VarTupleType | inspect.SetType | inspect.FrozenSetType):
        yield from _check_list(value, type_, pointer)
    elif isinstance(type_, inspect.DictType):
        yield from _check_dict(value, type_, pointer)
    elif isinstance(type_, inspect.StrType):
        yield from check_text(value, type_, pointer, meta)
    elif isinstance(type_, inspect.IntType | inspect.FloatType):
        yield from check_number(value, type_, pointer)
    else:
        yield from check_scalar(value, type_, pointer)


def _check_union(value: Any, type_: inspect.UnionType, pointer: str, meta: Mapping[str, Any]) -> Iterator[FieldError]:
    """Check a value against the type of a union that its JSON type fits."""
    if value is None and type_.includes_none:
        return
    choices = [choice for choice in type_.types if not isinstance(choice, inspect.NoneType)]
    faults = [tuple(islice(_check(value, choice, pointer, meta), MAX_FIELD_ERRORS)) for choice in choices]
    if () in faults:
        return
    fitting = [found for found in faults if (found[0].pointer, found[0].code) != (pointer, "wrong_type")]
    if len(choices) == 1 or fitting:
        yield from (fitting or faults)[0]
    else:
        yield build_wrong_type(value, " or ".join(dict.fromkeys(name_type(choice) for choice in choices)), pointer)


def _check_struct(value: Any, type_: inspect.StructType, pointer: str) -> Iterator[FieldError]:
    if not isinstance(value, dict):
        yield build_wrong_type(value, "an object", pointer)
        return
    valid = {}
    for field in type_.fields:
        name, place = field.encode_name, join(pointer, field.encode_name)
        if name not in value:
            if field.required:
                yield build_fault(place, "required", f"{quote_name(name)} is required.")
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
        yield build_fault(join(pointer, name), "duplicate_member", f"{quote_name(name)} occurs more than once.")
    if not type_.forbid_unknown_fields:
        return
    for name in value:
        if name not in known:
            yield build_fault(
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
        yield build_wrong_type(value, "a list", pointer)
        return
    yield from check_length(len(value), type_, pointer, "entry", "entries", "few", "many")
    for position, item in enumerate(value[: type_.max_length]):
        yield from _check(item, type_.item_type, join(pointer, position))


def _check_dict(value: Any, type_: inspect.DictType, pointer: str) -> Iterator[FieldError]:
    if not isinstance(value, dict):
        yield build_wrong_type(value, "an object", pointer)
        return
    yield from check_length(len(value), type_, pointer, "member", "members", "few", "many")
    for name in value.repeated if isinstance(value, ObjectWithRepeats) else ():
        yield build_fault(join(pointer, name), "duplicate_member", f"{quote_name(name)} occurs more than once.")
    for name, member in value.items():
        yield from _check(name, type_.key_type, join(pointer, name))
        yield from _check(member, type_.value_type, join(pointer, name))
