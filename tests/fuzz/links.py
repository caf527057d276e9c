"""OpenAPI links: how the ids in one response are used in the next request."""

import json
from typing import Any

ORDER = {"order_id": "$response.body#/id", "X-Order-Token": "$response.body#/token"}
CART = {"cart_id": "$response.body#/id"}
LINKS: dict[str, list[tuple[str, dict[str, str], Any]]] = {
    "POST /api/v1/carts 201": [
        ("GET /api/v1/carts/{cart_id}", CART, None),
        ("PUT /api/v1/carts/{cart_id}/items/{sku}", CART, None),
        ("DELETE /api/v1/carts/{cart_id}/items/{sku}", CART, None),
    ],
    "PUT /api/v1/carts/{cart_id}/items/{sku} 200": [
        ("GET /api/v1/carts/{cart_id}", CART, None),
        ("DELETE /api/v1/carts/{cart_id}/items/{sku}", CART, None),
    ],
    "POST /api/v1/auth/token 200": [
        ("POST /api/v1/auth/token/refresh", {}, {"refresh": "$response.body#/refresh"}),
        ("POST /api/v1/auth/logout", {}, {"refresh": "$response.body#/refresh"}),
    ],
    "POST /api/v1/auth/register 201": [
        ("POST /api/v1/auth/token", {}, {"email": "$request.body#/email", "password": "$request.body#/password"}),
    ],
}
for status in (201, 202):
    LINKS[f"POST /api/v1/orders {status}"] = [
        ("GET /api/v1/orders/{order_id}", ORDER, None),
        ("GET /api/v1/orders/{order_id}/timeline", ORDER, None),
        ("POST /api/v1/orders/{order_id}/cancel", ORDER, None),
        ("GET /api/v1/payments/{payment_id}", {"payment_id": "$response.body#/payment/id"}, None),
        ("POST /api/v1/payments/{payment_id}/refunds", {"payment_id": "$response.body#/payment/id"}, None),
    ]


def with_links(document: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of the document with these links. KeyError if an operation or a response does not exist."""
    document = json.loads(json.dumps(document))
    for source, targets in LINKS.items():
        method, path, status = source.split(" ")
        if path not in document["paths"]:
            continue
        response = document["paths"][path][method.lower()]["responses"][status]
        response["links"] = {f"to {target}": _link(document, target, given, body) for target, given, body in targets}
    return document


def _link(document: dict[str, Any], target: str, given: dict[str, str], body: Any) -> dict[str, Any]:
    method, path = target.split(" ")
    operation = document["paths"][path][method.lower()]
    declared = {parameter["name"] for parameter in operation["parameters"]} if given else set()
    link = {"operationId": operation["operationId"], "parameters": {n: v for n, v in given.items() if n in declared}}
    return link | ({"requestBody": body} if body else {})


def with_single_item_source(document: dict[str, Any], turn: int) -> dict[str, Any]:
    """Require either items or a cart in an order, in turn. The schema has both as optional, the API needs exactly one."""
    schema = document["components"]["schemas"].get("PlaceOrder")
    if schema:
        source, other = ("items", "cart_id") if turn % 2 else ("cart_id", "items")
        schema["properties"].pop(other)
        kind = schema["properties"].pop(source)
        schema["properties"][source] = next(choice for choice in kind["anyOf"] if choice.get("type") != "null")
        schema["required"] += [source, "email"]
    return document


def with_python_patterns(part: Any) -> Any:
    """Return a part of the document with patterns for Python, whose $ also matches before a newline at the end."""
    if isinstance(part, list):
        return [with_python_patterns(entry) for entry in part]
    if not isinstance(part, dict):
        return part
    return {
        key: f"{value}(?!\\n)" if key == "pattern" and isinstance(value, str) else with_python_patterns(value)
        for key, value in part.items()
    }
