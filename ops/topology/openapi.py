"""Build the OpenAPI document of the whole API, and find the changes that break its clients."""

import json
from typing import Any

from django.conf import settings
from drf_spectacular.generators import SchemaGenerator

from shop.contexts import get_context_config

DOCUMENT_PATH = settings.BASE_DIR / "docs" / "openapi.json"
DEFAULT_SITE_URL = "http://127.0.0.1:8000"
METHODS = ("get", "put", "post", "delete", "patch")
Document = dict[str, Any]


def build_document() -> Document:
    """Build the document of all contexts, with the default SITE_URL, as it is committed."""
    patterns = [pattern for name in settings.ALL_CONTEXTS for pattern in get_context_config(name).build_urlpatterns()]
    document = SchemaGenerator(patterns=patterns).get_schema(request=None, public=True)
    text: str = json.dumps(document).replace(settings.SITE_URL, DEFAULT_SITE_URL)
    parsed: Document = json.loads(text)
    return parsed


def render_document(document: Document) -> str:
    """Render a document as it is committed."""
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def find_breaking_changes(old: Document, new: Document) -> list[str]:
    """Return what clients of the old document rely on and the new one does not have, sorted."""
    found: list[str] = []
    for path, path_item in old["paths"].items():
        for method in METHODS:
            if method in path_item:
                found += _compare_operations(f"{method.upper()} {path}", path_item[method], new, old, path, method)
    return sorted(set(found))


def _compare_operations(
    where: str, before: Document, new: Document, old: Document, path: str, method: str
) -> list[str]:
    after = new["paths"].get(path, {}).get(method)
    if after is None:
        return [f"{where} was removed"]
    found = [f"{where}: response {status} was removed" for status in before["responses"].keys() - after["responses"]
             if status.startswith("2")]  # fmt: skip
    found += _compare_parameters(where, before, after)
    if [] not in [list(choice) for choice in after["security"]] and {} in before["security"]:
        found.append(f"{where}: authentication is required now")
    sent = [operation.get("requestBody") for operation in (before, after)]
    if sent[0] or (sent[1] or {}).get("required"):  # an optional body breaks no client that sends none
        found += _compare(where, _schema_of(sent[0]), _schema_of(sent[1]), old, new, is_request=True)
    for status in before["responses"].keys() & after["responses"].keys():
        answered = [_schema_of(operation["responses"][status]) for operation in (before, after)]
        if status.startswith("2"):
            found += _compare(f"{where} {status}", answered[0], answered[1], old, new, is_request=False)
    return found


def _compare_parameters(where: str, before: Document, after: Document) -> list[str]:
    old_ones, new_ones = ({(p["in"], p["name"]): p for p in each.get("parameters", ())} for each in (before, after))
    found = [f"{where}: parameter {name} was removed" for _, name in old_ones.keys() - new_ones]
    for key, parameter in new_ones.items():
        if parameter.get("required") and not old_ones.get(key, {}).get("required"):
            found.append(f"{where}: parameter {key[1]} is required now")
        found += _compare_enums(
            f"{where}: parameter {key[1]}", old_ones.get(key, {}).get("schema"), parameter["schema"], is_request=True
        )
    return found


def _schema_of(holder: Document | None) -> Document | None:
    contents = (holder or {}).get("content", {})
    return next((content["schema"] for content in contents.values() if "schema" in content), None)


def _compare(
    where: str,
    before: Document | None,
    after: Document | None,
    old: Document,
    new: Document,
    *,
    is_request: bool,
    seen: frozenset[str] = frozenset(),
) -> list[str]:
    """Compare two schemas member by member. A component that contains itself is compared once."""
    if before is None:
        return [f"{where}: a body is required now"] if is_request and after is not None else []
    if after is None:
        return [f"{where}: the body was removed"]
    reference = before.get("$ref", "")
    if reference and reference in seen:
        return []
    seen |= {reference} if reference else set()
    before, after = _resolve(before, old), _resolve(after, new)
    found = _compare_enums(where, before, after, is_request=is_request) + _compare_types(where, before, after)
    properties, changed = before.get("properties", {}), after.get("properties", {})
    found += [f"{where}/{name} was removed" for name in properties.keys() - changed]
    needed, given = set(before.get("required", ())), set(after.get("required", ()))
    if is_request:
        found += [f"{where}/{name} is required now" for name in given - needed]
    else:
        found += [f"{where}/{name} is optional now" for name in needed - given if name in changed]
    for name in properties.keys() & changed.keys():
        found += _compare(
            f"{where}/{name}", properties[name], changed[name], old, new, is_request=is_request, seen=seen
        )
    if "items" in before and "items" in after:
        found += _compare(f"{where}/*", before["items"], after["items"], old, new, is_request=is_request, seen=seen)
    return found


def _compare_enums(where: str, before: Document | None, after: Document, *, is_request: bool) -> list[str]:
    """Find values that were removed. A client that handles unknown values of responses is not broken by a new one."""
    values, changed = (before or {}).get("enum"), after.get("enum")
    if values is None:
        return [f"{where} is limited to some values now"] if changed is not None and is_request and before else []
    return [f"{where}: value {value} was removed" for value in values if value not in (changed or values)]


def _compare_types(where: str, before: Document, after: Document) -> list[str]:
    kinds = before.get("type"), after.get("type")
    return [f"{where}: {kinds[0]} became {kinds[1]}"] if None not in kinds and kinds[0] != kinds[1] else []


def _resolve(schema: Document, document: Document) -> Document:
    """Return the schema that a reference names, or the only choice of a nullable schema."""
    choices = [choice for choice in schema.get("anyOf", ()) if choice != {"type": "null"}]
    if len(choices) == 1:
        schema = choices[0]
    if "$ref" not in schema:
        return schema
    found: Document = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return found
