"""Complete the OpenAPI document that drf-spectacular generates: the last of its post-processing hooks."""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from django.conf import settings

from shop.http.json_schemas import REF_TEMPLATE, Components, get_name
from shop.http.openapi_examples import ExampleBuilder, ExampleMissing

Document = dict[str, Any]
PROBLEM_TYPE = "application/problem+json"
PATH_ITEM_METHODS = ("get", "put", "post", "delete", "patch")


def complete_document(result: Document, **_: object) -> Document:
    """Add servers, tags and examples, and say of responses that clients have to accept more members than these."""
    schemas = result["components"]["schemas"]
    operations = list(list_operations(result))
    _open_responses(schemas, operations)
    for operation in operations:
        _share_problems(schemas, operation)
        _add_examples(schemas, operation)
    tags = sorted({tag for operation in operations for tag in operation.get("tags", ())})
    return result | {
        "servers": [{"url": settings.SITE_URL, "description": "This shop"}],
        "tags": [{"name": tag, "description": settings.API_TAGS.get(tag, "")} for tag in tags],
        "components": result["components"] | {"schemas": dict(sorted(schemas.items()))},
    }


def list_operations(document: Document) -> Iterator[dict[str, Any]]:
    """Yield each operation of a document."""
    for path_item in document["paths"].values():
        yield from (operation for name, operation in path_item.items() if name in PATH_ITEM_METHODS)


def list_contents(operation: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the contents of the successful responses of an operation, for each media type."""
    for status, response in operation["responses"].items():
        if status.startswith("2"):
            yield from response.get("content", {}).values()


def find_references(schema: Any) -> set[str]:
    """Return the names of the components that a part of a document refers to directly."""
    if isinstance(schema, list):
        return set().union(*map(find_references, schema))
    if not isinstance(schema, dict):
        return set()
    found = {get_name(schema["$ref"])} if isinstance(schema.get("$ref"), str) else set()
    return found.union(*map(find_references, schema.values()))


def collect_components(schemas: Components, parts: list[Any]) -> set[str]:
    """Return the names of all components that these parts of a document refer to, also indirectly."""
    found: set[str] = set()
    pending = find_references(parts)
    while pending:
        name = pending.pop()
        found.add(name)
        pending |= find_references(schemas[name]) - found
    return found


def _open_responses(schemas: Components, operations: list[dict[str, Any]]) -> None:
    """Let responses have more members than today, and require those that are always present.

    A closed struct of requests that responses contain too gets a second component for them, named like a view.
    """
    in_requests = collect_components(schemas, [operation.get("requestBody") for operation in operations])
    in_responses = collect_components(schemas, [operation["responses"] for operation in operations])
    shared = {name for name in in_requests & in_responses if schemas[name].get("properties")}
    renamed = {REF_TEMPLATE.format(name=name): REF_TEMPLATE.format(name=f"{name}View") for name in shared}
    opened = {name: _open(schemas[name]) for name in in_responses}
    schemas |= {name: _drop_defaults(schemas[name]) for name in in_requests}
    for name, schema in opened.items():
        target = f"{name}View" if name in shared else name
        schemas[target] = _rename_references(schema, renamed) | {"title": target}
    for operation in operations:
        operation["responses"] = _rename_references(operation["responses"], renamed)


def _drop_defaults(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an object in a request. Generators such as openapi-typescript require a member with a default."""
    properties = schema.get("properties", {})
    cleared = {name: {k: v for k, v in member.items() if k != "default"} for name, member in properties.items()}
    return schema | ({"properties": cleared} if properties else {})


def _open(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an object in a response: a member with a default is always present."""
    schema = json.loads(json.dumps(schema))
    properties = schema.get("properties", {})
    present = {name for name, member in properties.items() if member.pop("default", properties) is not properties}
    required = [name for name in properties if name in present or name in schema.get("required", ())]
    opened = {key: value for key, value in schema.items() if key not in ("additionalProperties", "required")}
    if not properties and isinstance(schema.get("additionalProperties"), dict):
        opened["additionalProperties"] = schema["additionalProperties"]
    return opened | ({"required": required} if required else {})


def _rename_references(part: Any, renamed: dict[str, str]) -> Any:
    if isinstance(part, list):
        return [_rename_references(entry, renamed) for entry in part]
    if not isinstance(part, dict):
        return part
    return {
        key: renamed.get(value, value) if key == "$ref" else _rename_references(value, renamed)
        for key, value in part.items()
    }


def _share_problems(schemas: Components, operation: dict[str, Any]) -> None:
    """Put the problem of a status with a single code into a component that all operations share, named after the code."""
    for response in operation["responses"].values():
        content = response.get("content", {}).get(PROBLEM_TYPE, {})
        problem, *details = content.get("schema", {}).get("allOf", [None])
        codes = details[0]["properties"]["code"]["enum"] if details else []
        if len(codes) == 1:
            name = re.sub(r"(?:^|[._])([a-z])", lambda initial: initial[1].upper(), codes[0]) + "Problem"
            schemas[name] = {"title": name, "allOf": [problem, *details]}
            content["schema"] = {"$ref": REF_TEMPLATE.format(name=name)}


def _add_examples(schemas: Components, operation: dict[str, Any]) -> None:
    """Add an example to each body and required parameter. A test finds those that lack one."""
    for content in operation.get("requestBody", {}).get("content", {}).values():
        _add_example(content, ExampleBuilder(schemas, settings.API_EXAMPLES, is_request=True))
    for content in list_contents(operation):
        _add_example(content, ExampleBuilder(schemas, settings.API_EXAMPLES, is_request=False))
    for parameter in operation.get("parameters", ()):
        if parameter.get("required"):
            builder = ExampleBuilder(schemas, settings.API_EXAMPLES, is_request=True)
            _add_example(parameter, builder, struct="parameters", member=parameter["name"])


def _add_example(holder: dict[str, Any], builder: ExampleBuilder, **names: str) -> None:
    with suppress(ExampleMissing):
        holder["example"] = builder.build(holder["schema"], **names)
