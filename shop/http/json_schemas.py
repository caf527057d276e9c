"""JSON schemas of structs, as msgspec describes them, in the form that clients and generators in every language read.

Only the schema is adapted. What a request is checked against stays the type itself.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import msgspec
from msgspec import inspect

REF_TEMPLATE = "#/components/schemas/{name}"
Components = dict[str, dict[str, Any]]


@cache
def build_component(struct: Any) -> tuple[str, Components]:
    """Return the component name of a struct, and the schemas of the struct and of its nested structs by name."""
    [reference], components = msgspec.json.schema_components([struct], ref_template=REF_TEMPLATE)
    for nested in _find_structs(inspect.type_info(struct), set()):
        [nested_reference], _ = msgspec.json.schema_components([nested.cls], ref_template=REF_TEMPLATE)
        _mark_times(components[get_name(nested_reference["$ref"])], nested)
    enums = {REF_TEMPLATE.format(name=name): shape for name, shape in components.items() if "enum" in shape}
    structs = {name: _adapt(shape, enums) for name, shape in components.items() if "enum" not in shape}
    return get_name(reference["$ref"]), structs


def build_query_parameters(query: type[msgspec.Struct]) -> tuple[Components, list[str]]:
    """Return the schemas of query parameters by name, and the names of the required ones. A query has no null."""
    name, components = build_component(query)
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


def _mark_times(schema: dict[str, Any], struct: inspect.StructType) -> None:
    """Add `format: date-time` to the times of a struct. msgspec omits it, because it reads times without a zone too."""
    for field in struct.fields:
        _mark_time(schema["properties"][field.encode_name], field.type)


def _mark_time(schema: dict[str, Any], type_: inspect.Type) -> None:
    if isinstance(type_, inspect.Metadata):
        _mark_time(schema, type_.type)
    elif isinstance(type_, inspect.DateTimeType):
        schema["format"] = "date-time"
    elif isinstance(type_, inspect.UnionType) and "anyOf" in schema:
        for choice, choice_type in zip(schema["anyOf"], type_.types, strict=True):
            _mark_time(choice, choice_type)
    elif isinstance(type_, inspect.ListType):
        _mark_time(schema["items"], type_.item_type)


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
