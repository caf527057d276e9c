"""Hypothesis strategies for everything that crosses an interface, built from type hints."""

import dataclasses
import types
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import msgspec
from hypothesis import strategies as st

text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
PLAIN = {
    str: text,
    int: st.integers(-(2**63), 2**63 - 1),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
    bytes: st.binary(max_size=20),
    UUID: st.uuids(),
    timedelta: st.timedeltas(timedelta(days=-3650), timedelta(days=3650)),
    datetime: st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),
    type(None): st.none(),
}


def examples(hint: Any) -> st.SearchStrategy:
    """Return a strategy for a type hint. Raises TypeError for a type that is not plain data."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint in PLAIN:
        return PLAIN[hint]
    if origin is Annotated:
        return annotated(arguments[0], arguments[1])
    if origin is Literal:
        return st.sampled_from(arguments)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return st.sampled_from(hint)
    if origin in (Union, types.UnionType):
        return st.one_of([examples(one) for one in arguments])
    if origin is tuple and arguments[1:] == (...,):
        return st.lists(examples(arguments[0]), max_size=3).map(tuple)
    if origin is frozenset:
        return st.frozensets(examples(arguments[0]), max_size=3)
    if origin is dict:
        return st.dictionaries(*map(examples, arguments), max_size=3)
    if isinstance(hint, type) and (issubclass(hint, msgspec.Struct) or dataclasses.is_dataclass(hint)):
        return st.builds(hint, **{name: examples(one) for name, one in fields(hint).items()})
    raise TypeError(f"{hint!r} is no plain type")


def annotated(hint: Any, meta: msgspec.Meta) -> st.SearchStrategy:
    if meta.pattern:
        return st.from_regex(meta.pattern, fullmatch=True).map(lambda t: t.removesuffix("\n"))
    if hint is int:
        return st.integers(-(2**63) if meta.ge is None else meta.ge, 2**63 - 1 if meta.le is None else meta.le)
    return st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=meta.min_length or 0,
                   max_size=meta.max_length or 20)  # fmt: skip


def fields(cls: Any) -> dict[str, Any]:
    """Return the fields of a class with their type hints."""
    hints = get_type_hints(cls, include_extras=True)
    if issubclass(cls, msgspec.Struct):
        return {name: hints[name] for name in cls.__struct_fields__}
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}
