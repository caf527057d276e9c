"""The shapes of all events, and which changes of them break a reader that was built yesterday."""

import json
from pathlib import Path
from typing import Any

import msgspec

from shop import events

SNAPSHOT = Path(__file__).with_name("schemas.json")
Schemas = dict[str, dict[str, Any]]


def present() -> Schemas:
    """Every event's types with their fields, by name and version."""
    own = [cls for cls in events.declared().values() if cls.__module__.startswith("contexts.")]
    return {f"{cls.name} v{cls.version}": shapes(cls) for cls in sorted(own, key=lambda cls: cls.name)}


def shapes(cls: type) -> dict[str, Any]:
    """The event's own type and those it holds: fields with their schemas, and which of them have no default."""
    definitions = msgspec.json.schema(cls)["$defs"]
    return {
        "event" if name == cls.__name__ else name: {
            "fields": {field: without_words(one) for field, one in sorted(shape["properties"].items())},
            "required": sorted(shape.get("required", [])),
        }
        for name, shape in sorted(definitions.items())
    }


def without_words(schema: Any) -> Any:
    """A schema without its descriptions, which may change."""
    if isinstance(schema, dict):
        return {key: without_words(value) for key, value in schema.items() if key not in ("title", "description")}
    return [without_words(one) for one in schema] if isinstance(schema, list) else schema


def kept() -> Schemas:
    return json.loads(SNAPSHOT.read_text())


def keep() -> None:
    """Accept the present shapes."""
    SNAPSHOT.write_text(json.dumps(present(), indent=1) + "\n")


def breaking(before: Schemas, after: Schemas) -> list[str]:
    """What a reader or a stored event of before could not bear."""
    found = []
    for event, types in before.items():
        if event not in after:
            found.append(f"{event} is gone")
            continue
        for name, shape in types.items():
            found += _breaking_type(f"{event} {name}", shape, after[event].get(name, {"fields": {}, "required": []}))
    return found


def _breaking_type(where: str, before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    old, new = before["fields"], after["fields"]
    lenient = set(old) - set(before["required"])
    return [
        *(f"{where}.{field} is gone" for field in old if field not in new),
        *(f"{where}.{field} has another type" for field in old if field in new and old[field] != new[field]),
        *(f"{where}.{field} is new and has no default" for field in new if field not in old and field in after["required"]),
        *(f"{where}.{field} has lost its default" for field in after["required"] if field in lenient),
    ]
