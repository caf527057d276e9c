"""Schemas of everything that crosses between contexts, and the changes that break the previous release.

During a rolling upgrade, processes of the previous and of the new release call each other and receive each other's
events. Each context keeps the schemas that it has published in `contexts/<name>/schemas/`.
"""

import json
from pathlib import Path
from typing import Any

import msgspec
from django.conf import settings

from shop import errors
from shop.calls import services
from shop.calls.methods import Method
from shop.messaging import events

CONTEXTS_FOLDER = settings.BASE_DIR / "contexts"
Schemas = dict[str, dict[str, Any]]
Files = dict[str, Schemas]  # by path below contexts/


def current_files() -> Files:
    """Return the schemas of every event, method and error, by the file that they belong in.

    The key of a method includes its retry behaviour, so a change of that counts as a removal.
    """
    declared = [cls for cls in events.get_declared_events().values() if is_context_class(cls)]
    methods = [m for name, found in services.get_interfaces().items() if name in settings.ALL_CONTEXTS for m in found]
    refusals = [
        cls for cls in errors._by_code.values() if is_context_class(cls) and cls.__module__.endswith(".interface")
    ]
    interface = {f"{method.name} ({method.retry_policy})": method_schemas(method) for method in methods}
    interface |= {f"{cls.code} (error)": type_schemas(cls, "error") for cls in refusals}
    return _group_by_file("events", {f"{cls.name} v{cls.version}": type_schemas(cls, "event") for cls in declared}) | (
        _group_by_file("interface", interface)
    )


def _group_by_file(kind: str, schemas: Schemas) -> Files:
    files: Files = {}
    for name, types in sorted(schemas.items()):
        files.setdefault(f"{name.split('.')[0]}/schemas/{kind}.json", {})[name] = types
    return files


def is_context_class(cls: type) -> bool:
    """Return whether a class belongs to a context, not to a test."""
    return cls.__module__.startswith("contexts.")


def method_schemas(method: Method) -> dict[str, Any]:
    """Return the schemas of a method's arguments and of its result."""
    answer = msgspec.defstruct("answer", [("value", method.result_decoder.type)])
    return type_schemas(method.arguments_decoder.type, "arguments") | type_schemas(answer, "answer")


def type_schemas(cls: type, root_name: str) -> dict[str, Any]:
    """Return a type, named `root_name`, and the types of its fields: the schema of each field, and the required fields."""
    definitions = msgspec.json.schema(cls)["$defs"]
    enums = {f"#/$defs/{name}": shape["enum"] for name, shape in definitions.items() if "enum" in shape}
    return {
        root_name if name == cls.__name__ else name: {
            "fields": {field: normalize_schema(one, enums) for field, one in sorted(shape["properties"].items())},
            "required": sorted(shape.get("required", [])),
        }
        for name, shape in sorted(definitions.items()) if "properties" in shape
    }  # fmt: skip


def normalize_schema(schema: Any, enums: dict[str, list[str]]) -> Any:
    """Return a schema without its descriptions, which may change, and with the values of an enum in its place."""
    if isinstance(schema, list | tuple):  # a default may be a tuple
        return [normalize_schema(one, enums) for one in schema]
    if not isinstance(schema, dict):
        return schema
    normalized = {
        key: normalize_schema(value, enums) for key, value in schema.items() if key not in ("title", "description")
    }
    values = enums.get(normalized.get("$ref", ""))
    return normalized if values is None else {"enum": values} | {k: v for k, v in normalized.items() if k != "$ref"}


def load_files(folder: Path = CONTEXTS_FOLDER) -> Files:
    """Read the schemas that the contexts have published."""
    return {str(file.relative_to(folder)): json.loads(file.read_text()) for file in folder.glob("*/schemas/*.json")}


def update_files(files: Files, folder: Path = CONTEXTS_FOLDER) -> None:
    """Replace the published schemas, unless a change breaks the previous release."""
    published = load_files(folder)
    if find_breaking_changes(merge_files(published), merge_files(files)):
        return
    for path in published.keys() - files.keys():
        (folder / path).unlink()
    for path, schemas in files.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(json.dumps(schemas, indent=1) + "\n")


def merge_files(files: Files) -> Schemas:
    """Return the schemas of all files by name."""
    return {name: types for schemas in files.values() for name, types in schemas.items()}


def find_breaking_changes(before: Schemas, after: Schemas) -> list[str]:
    """Return the changes that break a caller, a subscriber or a stored event of the previous release."""
    found = []
    for name, types in before.items():
        if name not in after:
            found += [] if _has_upcast(name, after) else [f"{name} is missing"]
            continue
        for type_name, shape in types.items():
            found += _find_breaking_field_changes(
                f"{name} {type_name}", shape, after[name].get(type_name, {"fields": {}, "required": []})
            )
    return found


def _has_upcast(event: str, after: Schemas) -> bool:
    """Return whether an event has a later version that can be converted to this one."""
    name, _, version = event.rpartition(" v")
    later = version.isdecimal() and any(f"{name} v{n}" in after for n in range(int(version) + 1, int(version) + 20))
    return later and "upcast" in vars(events.get_declared_events()[name])


def _find_breaking_field_changes(where: str, before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    old, new = before["fields"], after["fields"]
    optional = set(old) - set(before["required"])
    return [
        *(f"{where}.{field} is missing" for field in old if field not in new),
        *(f"{where}.{field} has another type" for field in old if field in new and old[field] != new[field]),
        *(
            f"{where}.{field} is new and has no default"
            for field in new
            if field not in old and field in after["required"]
        ),
        *(f"{where}.{field} has lost its default" for field in after["required"] if field in optional),
    ]
