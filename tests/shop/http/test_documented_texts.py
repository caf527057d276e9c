"""The OpenAPI document states which characters the API refuses in the texts of bodies and queries."""

import json
import re
from collections.abc import Iterator
from typing import Any, get_type_hints

import msgspec
import pytest
from django.test import Client
from msgspec import inspect

from shop.http.field_errors import find_field_errors
from shop.text import has_invisible_characters
from tests.architecture.test_sizes import request_types

SAMPLES = ("Ada", "ada", "AD", "ADA", "ada@example.com", "+49 30 1")
JOINERS = "\u200c\u200d"  # allowed between some letters
# Every character up to U+FFFF that a text may not have, and every seventh of the others.
CHARACTERS = [
    chr(code)
    for code in range(0x10000)
    if (has_invisible_characters(f"a{chr(code)}") or code % 7 == 0)
    and chr(code) not in JOINERS
    and not 0xD800 <= code <= 0xDFFF
]


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return json.loads(Client().get("/api/openapi.json").content)


def list_structs(part: Any) -> Iterator[Any]:
    """Yield every struct in the description of a type."""
    if isinstance(part, inspect.StructType):
        yield part.cls
    if isinstance(part, tuple):
        parts = part
    else:
        parts = [getattr(part, name) for name in part.__struct_fields__] if isinstance(part, msgspec.Struct) else []
    for each in parts:
        yield from list_structs(each)


BODIES = sorted({struct for type_ in request_types() for struct in list_structs(inspect.type_info(type_))}, key=str)


def list_texts(document: dict[str, Any]) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Yield each text of a body with its name, its type and its schema. What is no free text has no greatest length."""
    for struct in BODIES:
        component = document["components"]["schemas"].get(struct.__name__, {})  # a query has none
        for member, schema in component.get("properties", {}).items():
            for choice in schema.get("anyOf", [schema]):
                if choice.get("type") == "string" and "maxLength" in choice and choice.get("format") != "email":
                    yield f"{struct.__name__}.{member}", get_type_hints(struct, include_extras=True)[member], choice


def is_allowed(text: str, schema: dict[str, Any]) -> bool:
    """Return whether a schema allows a text. `$` of ECMA-262 does not match before a newline at the end."""
    pattern = re.sub(r"\$$", r"\\Z", schema.get("pattern", ""))
    return len(text) <= schema["maxLength"] and re.search(pattern, text) is not None


def test_every_character_that_the_api_refuses_in_a_body_is_refused_by_the_document(document):
    checked = {}
    for name, type_, schema in list_texts(document):
        key = json.dumps({key: value for key, value in schema.items() if key != "description"})
        if key in checked:
            continue
        sample = next(text for text in SAMPLES if not find_field_errors(text, type_) and is_allowed(text, schema))
        texts = [f"{sample[:1]}{character}{sample[1:]}" for character in CHARACTERS]
        differences = [text for text in texts if is_allowed(text, schema) == bool(find_field_errors(text, type_))]
        assert differences == [], name
        checked[key] = name
    assert len(checked) > 8


def test_a_null_character_in_a_query_is_refused_by_the_document(document):
    parameters = [
        parameter
        for methods in document["paths"].values()
        for operation in methods.values()
        for parameter in operation.get("parameters", ())
        if parameter["in"] == "query" and "maxLength" in parameter["schema"]
    ]
    assert {"cursor", "search", "token", "return_url", "category"} <= {parameter["name"] for parameter in parameters}
    for parameter in parameters:
        assert is_allowed("ada", parameter["schema"]) and not is_allowed("a\0da", parameter["schema"]), parameter[
            "name"
        ]
