"""Examples in the OpenAPI document, built from its schemas and from the values in the setting API_EXAMPLES.

A value is found by the name of its member, or by struct and member where the name alone means different things:
`{"sku": "MUG-1", "Address.name": "Ada Lovelace"}`.
"""

from collections.abc import Mapping
from typing import Any

from shop.http.json_schemas import GENERAL_PATTERNS, NUL_PATTERN, Components, get_name

FORMAT_EXAMPLES = {
    "uuid": "01a22aa2-3c3c-7de0-b23d-fba229a1e7d5",
    "date-time": "2026-01-31T12:00:00Z",
    "email": "ada@example.com",
    "uri": "https://example.com/",
}


class ExampleMissing(LookupError):
    """A value has a pattern that no example is known for."""


class ExampleBuilder:
    """Build examples of the schemas of a document.

    values: the examples by member. is_request: leave out optional members, unless there is an example for this struct.
    """

    def __init__(self, components: Components, values: Mapping[str, Any], *, is_request: bool) -> None:
        self.components, self.values, self.is_request = components, values, is_request

    def build(self, schema: dict[str, Any], *, struct: str = "", member: str = "") -> Any:
        """Build the example of a schema. Raises ExampleMissing."""
        for key in (f"{struct}.{member}", member):
            if key in self.values:
                return self.values[key]
        if "$ref" in schema:
            name = get_name(schema["$ref"])
            return self.build(self.components[name], struct=name)
        if "anyOf" in schema:
            return self.build(_choose(schema["anyOf"]), struct=struct, member=member)
        if "enum" in schema:
            return schema["enum"][0]
        return self._build_by_type(schema, struct, member)

    def _build_by_type(self, schema: dict[str, Any], struct: str, member: str) -> Any:
        type_ = schema.get("type")
        if type_ == "object":
            return self._build_object(schema, struct)
        if type_ == "array":
            return [self.build(schema["items"], struct=struct, member=f"{member}[]")]
        if type_ in ("integer", "number"):
            return schema.get("minimum", 1)
        if type_ == "boolean":
            return False
        return self._build_text(schema, f"{struct}.{member}") if type_ == "string" else None

    def _build_object(self, schema: dict[str, Any], struct: str) -> dict[str, Any]:
        required = schema.get("required", ())
        return {
            name: self.build(part, struct=struct, member=name)
            for name, part in schema.get("properties", {}).items()
            if not self.is_request or name in required or f"{struct}.{name}" in self.values
        }

    def _build_text(self, schema: dict[str, Any], name: str) -> str:
        if schema.get("pattern", NUL_PATTERN) not in GENERAL_PATTERNS:
            raise ExampleMissing(f"API_EXAMPLES has no example for {name}")
        text = FORMAT_EXAMPLES.get(schema.get("format", ""), "text")
        return text.ljust(schema.get("minLength", 0), "t")


def _choose(choices: list[dict[str, Any]]) -> dict[str, Any]:
    return next((choice for choice in choices if choice.get("type") != "null"), choices[0])
