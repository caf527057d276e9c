"""JSON schemas of structs, as msgspec describes them, in the form that clients and generators in every language read.

Only the schema is adapted. What a request is checked against stays the type itself.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

import msgspec
from msgspec import inspect

from shop.text import LINE_PATTERN, LINES_PATTERN

NUL_PATTERN = r"^[^\x00]*$"
REF_TEMPLATE = "#/components/schemas/{name}"
Components = dict[str, dict[str, Any]]


# What is refused in texts without a pattern of their own, by the kind of their content: see `check_text`.
_BODY_PATTERNS = {"": LINE_PATTERN, "lines": LINES_PATTERN, "secret": NUL_PATTERN}


@cache
def build_component(struct: Any, *, is_query: bool = False) -> tuple[str, Components]:
    """Return the component name of a struct, and the schemas of the struct and of its nested structs by name."""
    [reference], components = msgspec.json.schema_components([struct], ref_template=REF_TEMPLATE)
    for nested in _find_structs(inspect.type_info(struct), set()):
        [nested_reference], _ = msgspec.json.schema_components([nested.cls], ref_template=REF_TEMPLATE)
        properties = components[get_name(nested_reference["$ref"])]["properties"]
        for field in nested.fields:
            _complete(properties[field.encode_name], field.type, _get_text_patterns(nested, is_query))
    enums = {REF_TEMPLATE.format(name=name): shape for name, shape in components.items() if "enum" in shape}
    structs = {name: _adapt(shape, enums) for name, shape in components.items() if "enum" not in shape}
    return get_name(reference["$ref"]), structs


def build_query_parameters(query: type[msgspec.Struct]) -> tuple[Components, list[str]]:
    """Return the schemas of query parameters by name, and the names of the required ones. A query has no null."""
    name, components = build_component(query, is_query=True)
    properties = {name: _drop_null(schema) for name, schema in components[name]["properties"].items()}
    return properties, components[name].get("required", [])


def get_name(reference: str) -> str:
    """Return the name of the component that a `$ref` points to."""
    return reference.rpartition("/")[2]


def to_portable_pattern(pattern: str) -> str:
    r"""Translate a pattern of Python to one that RE2 and ECMA-262 (with the flag u) read alike.

    They need no look-ahead to refuse a newline at the end, since their $ does not match before it. RE2 has no \u, and
    ECMA-262 no \" escape.
    """
    pattern = pattern.replace(r"(?!\n)", "").replace(r"\"", '"')
    return re.sub(r"\\u([0-9a-fA-F]{4})", lambda escape: chr(int(escape[1], 16)), pattern)


GENERAL_PATTERNS = frozenset(map(to_portable_pattern, _BODY_PATTERNS.values()))


def _find_structs(part: Any, seen: set[Any]) -> Iterator[inspect.StructType]:
    """Yield every struct in a type once, also those in its members."""
    if isinstance(part, inspect.StructType):
        if part.cls in seen:
            return
        seen.add(part.cls)
        yield part
    if isinstance(part, tuple):
        for entry in part:
            yield from _find_structs(entry, seen)
    elif isinstance(part, msgspec.Struct):
        for name in part.__struct_fields__:
            yield from _find_structs(getattr(part, name), seen)


def _get_text_patterns(struct: inspect.StructType, is_query: bool) -> Mapping[str, str]:
    """Return the patterns of texts in a struct. What is no query and refuses unknown members is a body, or a part of one."""
    if is_query:
        return {"": NUL_PATTERN}
    return _BODY_PATTERNS if struct.forbid_unknown_fields else {}


def _complete(
    schema: dict[str, Any],
    type_: inspect.Type,
    text_patterns: Mapping[str, str],
    meta: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Add the patterns of texts, and `format: date-time`, which msgspec omits, because it reads times without a zone too."""
    if isinstance(type_, inspect.Metadata):
        _complete(schema, type_.type, text_patterns, {**meta, **(type_.extra or {})})
    elif isinstance(type_, inspect.DateTimeType):
        schema["format"] = "date-time"
    elif isinstance(type_, inspect.StrType) and not type_.pattern:
        if pattern := text_patterns.get(meta.get("content", "")):
            schema["pattern"] = pattern
    elif isinstance(type_, inspect.UnionType) and "anyOf" in schema:
        for choice, choice_type in zip(schema["anyOf"], type_.types, strict=True):
            _complete(choice, choice_type, text_patterns, meta)
    elif isinstance(type_, inspect.ListType):
        _complete(schema["items"], type_.item_type, text_patterns, meta)


def _adapt(schema: Any, enums: Components, *, is_properties: bool = False) -> Any:
    """Put the values of enumerations in their place, as they stand for a Literal, and make patterns portable."""
    if isinstance(schema, list):
        return [_adapt(entry, enums) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("$ref") in enums:
        return {"type": "string", "enum": enums[schema["$ref"]]["enum"]}
    adapted = {
        key: _adapt(value, enums, is_properties=key == "properties" and not is_properties)
        for key, value in schema.items()
    }
    if not is_properties and isinstance(adapted.get("pattern"), str):
        adapted["pattern"] = to_portable_pattern(adapted["pattern"])
    if (
        not is_properties
        and "type" not in adapted
        and all(isinstance(value, str) for value in adapted.get("enum", [0]))
    ):
        adapted["type"] = "string"
    return adapted


def _drop_null(schema: dict[str, Any]) -> dict[str, Any]:
    choices = [choice for choice in schema.get("anyOf", ()) if choice != {"type": "null"}]
    rest = {key: value for key, value in schema.items() if key != "anyOf"}
    if rest.get("default", "") in ("", None):
        rest.pop("default", None)
    return rest if not choices else rest | (choices[0] if len(choices) == 1 else {"anyOf": choices})
