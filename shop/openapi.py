"""The OpenAPI side of `shop.rest`: structs as schemas, bearer tokens, problems."""

import inspect
import re
from collections.abc import Callable
from typing import Any

import msgspec
from drf_spectacular.extensions import OpenApiAuthenticationExtension, OpenApiSerializerExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse


class Schema(AutoSchema):
    """What every operation of `shop.rest` has in common: a body is JSON and, where one is read, never left out."""

    def map_parsers(self) -> list[str]:
        return ["application/json"]

    def _get_request_body(self, direction: str = "request") -> dict[str, Any] | None:
        body = super()._get_request_body(direction)
        return body and body | {"required": True}


class Nested:
    """What a component made of another's parts is registered as: its name says all, so the same one may come again."""

    _spectacular_annotation = {"suppress_collision_warning": True}


REF = "#/components/schemas/{name}"
KEY = "A value of your own for this request: repeated with it, the request happens once and answers the same. "
KEY += "From guests at least 16 characters."
KEY_SCHEMA = {"type": "string", "pattern": "^[!-~]{1,255}$"}


class StructSchema(OpenApiSerializerExtension):
    """Any msgspec struct, where drf-spectacular expects a serializer."""

    target_class = msgspec.Struct
    match_subclasses = True

    @classmethod
    def _matches(cls, target: Any) -> bool:
        return hasattr(target, "__struct_fields__") or hasattr(getattr(target, "__origin__", None), "__struct_fields__")

    def get_name(self, auto_schema: AutoSchema, direction: str) -> str:
        return _component(self.target)[0]

    def map_serializer(self, auto_schema: AutoSchema, direction: str) -> dict[str, Any]:
        own, components = _component(self.target)
        for name, schema in components.items():
            if name != own:
                component = ResolvedComponent(name=name, type=ResolvedComponent.SCHEMA, object=Nested, schema=schema)
                auto_schema.registry.register_on_missing(component)
        return components[own]


def _component(struct: Any) -> tuple[str, dict[str, Any]]:
    [reference], components = msgspec.json.schema_components([struct], ref_template=REF)
    return reference["$ref"].rpartition("/")[2], components


class BearerSchema(OpenApiAuthenticationExtension):
    """The access token of POST auth/token."""

    target_class = "shop.rest.Bearer"
    name = "bearer"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}


def description(
    method: Callable, *, public: bool, answers: dict, problem: Any, body: Any, query: Any, key: str, headers: dict[str, str]
) -> dict[str, Any]:
    """The keyword arguments of `extend_schema` that say the same as an `endpoint`."""
    doc = inspect.getdoc(method) or ""
    done = OpenApiResponse(description="Done.")
    responses = {(status, "application/json"): answer or done for status, answer in answers.items()}
    responses["default", "application/problem+json"] = OpenApiResponse(problem, description="A problem (RFC 9457).")
    parameters = _parameters(query) if query is not None else []
    parameters += [OpenApiParameter(name, str, "header", description=text) for name, text in headers.items()]
    if key != "none":
        required = key == "required"
        parameters.append(OpenApiParameter("Idempotency-Key", KEY_SCHEMA, "header", required=required, description=KEY))
    return {
        "operation_id": re.sub(r"(?<!^)(?=[A-Z])|\.", "_", method.__qualname__).lower(),
        "summary": doc.split("\n")[0].rstrip("."),
        "description": re.sub(r"\n\s*", " ", doc),
        "request": body,
        "responses": responses,
        "parameters": parameters,
        "auth": [] if public else None,
    }


def _parameters(query: Any) -> list[OpenApiParameter]:
    schema = next(iter(msgspec.json.schema_components([query], ref_template=REF)[1].values()))
    required = schema.get("required", ())
    return [
        OpenApiParameter(name, field, "query", required=name in required, description=field.pop("description", ""))
        for name, field in schema["properties"].items()
    ]
