"""The shapes of all that crosses between contexts, and which changes of them break whoever was built yesterday.

While a release is rolled out, yesterday's processes call today's and hear from them, and the other way round.
"""

import json
from pathlib import Path
from typing import Any

import msgspec
from django.conf import settings

from shop import errors, events, services
from shop.services import Method

SNAPSHOT = Path(__file__).with_name("schemas.json")
Schemas = dict[str, dict[str, Any]]


def present() -> Schemas:
    """Every event, method and error: its types with their fields. A method's name says what a repeat of it does."""
    facts = [cls for cls in events.declared().values() if ours(cls)]
    methods = [m for name, found in services.interfaces().items() if name in settings.ALL_CONTEXTS for m in found]
    refusals = [cls for cls in errors._by_code.values() if ours(cls) and cls.__module__.endswith(".interface")]
    found = {f"{cls.name} v{cls.version}": shapes(cls, "event") for cls in facts}
    found |= {f"{method.name} ({method.repeat})": wire(method) for method in methods}
    return dict(sorted((found | {f"{cls.code} (error)": shapes(cls, "error") for cls in refusals}).items()))


def ours(cls: type) -> bool:
    """Whether it is a context's, and no test's."""
    return cls.__module__.startswith("contexts.")


def wire(method: Method) -> dict[str, Any]:
    """What a method is asked, and what it answers."""
    answer = msgspec.defstruct("answer", [("value", method.answer.type)])
    return shapes(method.arguments.type, "arguments") | shapes(answer, "answer")


def shapes(cls: type, called: str) -> dict[str, Any]:
    """A type, and those it holds: fields with their schemas, and which of them have no default."""
    definitions = msgspec.json.schema(cls)["$defs"]
    return {
        called if name == cls.__name__ else name: {
            "fields": {field: without_words(one) for field, one in sorted(shape["properties"].items())},
            "required": sorted(shape.get("required", [])),
        }
        for name, shape in sorted(definitions.items()) if "properties" in shape
    }  # fmt: skip


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
            found += [] if _told_anew(event, after) else [f"{event} is gone"]
            continue
        for name, shape in types.items():
            found += _breaking_type(f"{event} {name}", shape, after[event].get(name, {"fields": {}, "required": []}))
    return found


def _told_anew(event: str, after: Schemas) -> bool:
    """Whether there is a later version of an event, which says how it is told as that one."""
    name, _, version = event.rpartition(" v")
    later = version.isdecimal() and any(f"{name} v{n}" in after for n in range(int(version) + 1, int(version) + 20))
    return later and "upcast" in vars(events.declared()[name])


def _breaking_type(where: str, before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    old, new = before["fields"], after["fields"]
    lenient = set(old) - set(before["required"])
    return [
        *(f"{where}.{field} is gone" for field in old if field not in new),
        *(f"{where}.{field} has another type" for field in old if field in new and old[field] != new[field]),
        *(f"{where}.{field} is new and has no default" for field in new if field not in old and field in after["required"]),
        *(f"{where}.{field} has lost its default" for field in after["required"] if field in lenient),
    ]
