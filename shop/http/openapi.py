"""Describe the endpoints of `shop.http.rest` in OpenAPI: structs as schemas, bearer tokens, problem responses."""

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from drf_spectacular.extensions import OpenApiAuthenticationExtension, OpenApiSerializerExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse


class Schema(AutoSchema):
    """Describe request bodies as JSON and required, as `shop.http.rest` reads them."""

    def map_parsers(self) -> list[str]:
        return ["application/json"]

    def _get_request_body(self, direction: str = "request") -> dict[str, Any] | None:
        body: dict[str, Any] | None = super()._get_request_body(direction)  # type: ignore[no-untyped-call]
        return body and body | {"required": True}


class NestedComponent:
    """The owner under which nested components are registered. The same component may be registered repeatedly."""

    _spectacular_annotation = {"suppress_collision_warning": True}


class Html:
    """Stands for an HTML page in the responses of an endpoint. The method returns the HttpResponse itself."""


REF_TEMPLATE = "#/components/schemas/{name}"
KEY_DESCRIPTION = (
    "A client-generated unique key. Retrying with the same key returns the original response. "
    "For guests at least 16 characters. {lifetime}"
)
KEY_LIFETIMES = {  # by whether the key is required
    True: "The key holds as long as what the request created exists.",
    False: "The key holds for 72 hours.",
}
LIMITED_DESCRIPTION = (
    "Too many requests. Retry-After has the seconds to wait, RateLimit and RateLimit-Policy have the quota."
)
KEY_SCHEMA = {"type": "string", "pattern": "^[!-~]{1,255}$"}


class StructSchema(OpenApiSerializerExtension):
    """Describe a msgspec struct where drf-spectacular expects a serializer."""

    target_class = msgspec.Struct
    match_subclasses = True

    @classmethod
    def _matches(cls, target: object) -> bool:
        return hasattr(target, "__struct_fields__") or hasattr(getattr(target, "__origin__", None), "__struct_fields__")

    def get_name(self, auto_schema: AutoSchema, direction: str) -> str:
        return _build_component(self.target)[0]

    def map_serializer(self, auto_schema: AutoSchema, direction: str) -> dict[str, Any]:
        struct_name, components = _build_component(self.target)
        for name, schema in components.items():
            if name != struct_name:
                component = ResolvedComponent(
                    name=name, type=ResolvedComponent.SCHEMA, object=NestedComponent, schema=schema
                )
                auto_schema.registry.register_on_missing(component)
        return components[struct_name]


def _build_component(struct: type[msgspec.Struct]) -> tuple[str, dict[str, dict[str, Any]]]:
    """Return the component name of a struct, and the schemas of the struct and of its nested structs by name."""
    [reference], components = msgspec.json.schema_components([struct], ref_template=REF_TEMPLATE)
    enums = {REF_TEMPLATE.format(name=name): shape for name, shape in components.items() if "enum" in shape}
    structs = {name: _inline(shape, enums) for name, shape in components.items() if "enum" not in shape}
    return reference["$ref"].rpartition("/")[2], structs


def _to_portable_pattern(pattern: Any) -> Any:
    """Return a pattern without what RE2 and JavaScript do not know, or do not need (a $ is the end there)."""
    if not isinstance(pattern, str):
        return _inline(pattern, {})  # a member of this name
    pattern = pattern.replace(r"(?!\n)", "")
    return re.sub(r"\\u([0-9a-f]{4})", lambda escape: chr(int(escape[1], 16)), pattern)


def _inline(schema: Any, enums: dict[str, Any]) -> Any:
    """Replace references to enumerations by their values, as they stand for a Literal of the same values."""
    if isinstance(schema, dict):
        if schema.get("$ref") in enums:
            return {"enum": enums[schema["$ref"]]["enum"]}
        return {
            key: _to_portable_pattern(value) if key == "pattern" else _inline(value, enums)
            for key, value in schema.items()
        }
    return [_inline(value, enums) for value in schema] if isinstance(schema, list) else schema


class BearerSchema(OpenApiAuthenticationExtension):
    """The access token of POST auth/token."""

    target_class = "shop.http.rest.BearerAuthentication"
    name = "bearer"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}


def describe_endpoint(
    method: Callable[..., object],
    *,
    public: bool,
    responses: Mapping[int, object],
    problem: type[msgspec.Struct],
    body: object,
    query: type[msgspec.Struct] | None,
    idempotency: str,
    headers: Mapping[str, str],
    is_limited: bool = False,
) -> dict[str, Any]:
    """Build the keyword arguments of `extend_schema` from the declaration of an `endpoint`."""
    doc = inspect.getdoc(method) or ""
    empty = OpenApiResponse(description="Done.")
    described: dict[tuple[int | str, str], object] = {
        (status, "application/json"): schema or empty for status, schema in responses.items() if schema is not Html
    }
    page = OpenApiResponse(str, description="An HTML page.")
    described |= {(status, "text/html"): page for status, schema in responses.items() if schema is Html}
    described["default", "application/problem+json"] = OpenApiResponse(
        problem, description="Problem details (RFC 9457)."
    )
    if is_limited:
        described[429, "application/problem+json"] = OpenApiResponse(problem, description=LIMITED_DESCRIPTION)
    parameters = _build_parameters(query) if query is not None else []
    parameters += [OpenApiParameter(name, str, "header", description=text) for name, text in headers.items()]
    if idempotency != "none":
        required = idempotency == "required"
        text = KEY_DESCRIPTION.format(lifetime=KEY_LIFETIMES[required])
        parameters.append(
            OpenApiParameter("Idempotency-Key", KEY_SCHEMA, "header", required=required, description=text)
        )
    return {
        "operation_id": re.sub(r"(?<!^)(?=[A-Z])|\.", "_", method.__qualname__).lower(),
        "summary": doc.split("\n")[0].rstrip("."),
        "description": re.sub(r"\n\s*", " ", doc),
        "request": body,
        "responses": described,
        "parameters": parameters,
        "auth": [] if public else None,
    }


def _build_parameters(query: type[msgspec.Struct]) -> list[OpenApiParameter]:
    schema = _build_component(query)[1][query.__name__]
    required = schema.get("required", ())
    return [
        OpenApiParameter(name, field, "query", required=name in required, description=field.pop("description", ""))
        for name, field in schema["properties"].items()
    ]
