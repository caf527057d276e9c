"""Describe the endpoints of `shop.http.rest` in OpenAPI: structs as schemas, bearer tokens, problem responses."""

import inspect
import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from drf_spectacular.extensions import OpenApiAuthenticationExtension, OpenApiSerializerExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse

from shop.http.json_schemas import build_component, build_query_parameters
from shop.http.openapi_errors import build_responses, list_access_errors


class Schema(AutoSchema):
    """Describe the endpoints of `shop.http.rest`: JSON bodies, optional authentication, and errors."""

    def get_operation(self, *arguments: Any) -> dict[str, Any] | None:
        """Describe the method of a view, with `security` and errors, which depend on the view as well."""
        operation: dict[str, Any] | None = super().get_operation(*arguments)
        method: Any = getattr(self.view, self.method.lower(), None)
        if operation is None or not hasattr(method, "errors"):
            return operation
        schemes = self.get_auth()
        optional: list[dict[str, Any]] = [{}] if schemes and not method.access.requires_sign_in else []
        errors = list_access_errors(may_sign_in=bool(schemes), has_path_parameters="{" in self.path)
        responses = operation.pop("responses")
        general = {"default": responses.pop("default")}
        return operation | {
            "security": optional + schemes,
            "responses": responses | build_responses([*method.errors, *errors]) | general,
        }

    def map_parsers(self) -> list[str]:
        return ["application/json"]

    def _get_request_body(self, direction: str = "request") -> dict[str, Any] | None:
        body: dict[str, Any] | None = super()._get_request_body(direction)  # type: ignore[no-untyped-call]
        method = getattr(self.view, self.method.lower(), None)
        return body and body | {"required": not getattr(method, "body_is_optional", False)}


class NestedComponent:
    """The owner under which nested components are registered. The same component may be registered repeatedly."""

    _spectacular_annotation = {"suppress_collision_warning": True}


class Html:
    """The type of an HTML page in the responses of an endpoint. The method returns the HttpResponse itself."""


KEY_DESCRIPTION = (
    "A client-generated unique key. Retrying with the same key returns the original response. "
    "For guests at least 16 characters. {lifetime}"
)
KEY_LIFETIMES = {  # by whether the key is required
    True: "The key is valid as long as the object that the request created.",
    False: "The key is valid for 72 hours.",
}
KEY_SCHEMA = {"type": "string", "pattern": "^[!-~]{1,255}$"}


class StructSchema(OpenApiSerializerExtension):
    """Describe a msgspec struct where drf-spectacular expects a serializer."""

    target_class = msgspec.Struct
    match_subclasses = True

    @classmethod
    def _matches(cls, target: object) -> bool:
        return hasattr(target, "__struct_fields__") or hasattr(getattr(target, "__origin__", None), "__struct_fields__")

    def get_name(self, auto_schema: AutoSchema, direction: str) -> str:
        return build_component(self.target)[0]

    def map_serializer(self, auto_schema: AutoSchema, direction: str) -> dict[str, Any]:
        struct_name, components = build_component(self.target)
        for name, schema in components.items():
            if name != struct_name:
                component = ResolvedComponent(
                    name=name, type=ResolvedComponent.SCHEMA, object=NestedComponent, schema=schema
                )
                auto_schema.registry.register_on_missing(component)
        return components[struct_name]


class BearerSchema(OpenApiAuthenticationExtension):
    """Describe the bearer token: the access token of POST auth/token."""

    target_class = "shop.http.rest.BearerAuthentication"
    name = "bearer"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}


def describe_endpoint(
    method: Callable[..., object],
    *,
    responses: Mapping[int, object],
    problem: type[msgspec.Struct],
    body: object,
    query: type[msgspec.Struct] | None,
    idempotency: str,
    headers: Mapping[str, str],
) -> dict[str, Any]:
    """Build the keyword arguments of `extend_schema` from the declaration of an `endpoint`."""
    doc = inspect.getdoc(method) or ""
    described: dict[tuple[int | str, str], object] = {
        (status, "application/json"): OpenApiResponse(schema, description=HTTPStatus(status).phrase)
        for status, schema in responses.items()
        if schema is not Html
    }
    page = OpenApiResponse(str, description="An HTML page.")
    described |= {(status, "text/html"): page for status, schema in responses.items() if schema is Html}
    described["default", "application/problem+json"] = OpenApiResponse(
        problem, description="Problem details (RFC 9457)."
    )
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
    }


def _build_parameters(query: type[msgspec.Struct]) -> list[OpenApiParameter]:
    schemas, required = build_query_parameters(query)
    return [
        OpenApiParameter(
            name,
            {key: value for key, value in schema.items() if key != "description"},
            "query",
            required=name in required,
            description=schema.get("description", ""),
        )
        for name, schema in schemas.items()
    ]
