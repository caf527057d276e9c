"""The OpenAPI document and the documentation page."""

import json
import re

import jsonschema
import pytest
from django.conf import settings
from django.core.management import call_command
from django.test import Client

from shop.http.json_schemas import to_portable_pattern
from shop.http.openapi_document import complete_document
from shop.http.openapi_examples import ExampleBuilder, ExampleMissing
from tests.shop.http.portable_patterns import find_unportable

DOCUMENTED_OPERATIONS = """
POST auth/register · POST auth/token · POST auth/token/refresh · POST auth/logout · GET users/me · PATCH users/me
GET categories · GET products · GET products/{slug} · POST carts · GET carts/{cart_id}
PUT carts/{cart_id}/items/{sku} · DELETE carts/{cart_id}/items/{sku} · GET orders · POST orders · GET orders/{order_id}
GET orders/{order_id}/timeline · POST orders/{order_id}/cancel · GET payments/{payment_id}
POST payments/{payment_id}/refunds · GET notifications
"""


@pytest.fixture(scope="module")
def document():
    response = Client().get("/api/openapi.json")
    assert response.status_code == 200
    return json.loads(response.content)


def list_operations(document):
    """Return every operation by its method and path."""
    return {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def find_schemas(part):
    """Yield every object in a part of the document."""
    if isinstance(part, dict):
        yield part
    for entry in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from find_schemas(entry)


def list_examples(operation):
    """Yield each example of an operation with its schema."""
    contents = [*operation.get("requestBody", {}).get("content", {}).values()]
    for response in operation["responses"].values():
        contents += response.get("content", {}).values()
    for content in contents:
        for example in [content[key] for key in ("example",) if key in content] + [
            example["value"] for example in content.get("examples", {}).values()
        ]:
            yield content["schema"], example


def test_the_document_is_generated_without_a_warning(tmp_path, capfd):
    call_command("spectacular", validate=True, fail_on_warn=True, file=str(tmp_path / "schema.yaml"))
    assert "arning" not in capfd.readouterr().err


def test_the_document_is_openapi_3_1_and_describes_the_api(document):
    assert document["openapi"].startswith("3.1")
    for operation in re.split(r" · |\n", DOCUMENTED_OPERATIONS.strip()):
        method, path = operation.split(" ")
        assert method.lower() in document["paths"][f"/api/v1/{path}"], operation


def test_every_operation_has_a_description_and_a_problem_response(document):
    for path, methods in document["paths"].items():
        for name, operation in methods.items():
            assert operation["summary"], (name, path)
            problem = operation["responses"]["default"]["content"]["application/problem+json"]["schema"]
            assert problem["$ref"].endswith("/Problem")


def test_placing_an_order_requires_a_key(document):
    parameters = document["paths"]["/api/v1/orders"]["post"]["parameters"]
    assert [(p["name"], p["required"]) for p in parameters if p["in"] == "header"] == [("Idempotency-Key", True)]


def test_a_body_is_json_and_required(document):
    operations = list_operations(document)
    bodies = {name: operation["requestBody"] for name, operation in operations.items() if "requestBody" in operation}
    assert len(bodies) > 8
    assert all(list(body["content"]) == ["application/json"] for body in bodies.values())
    optional = {name for name, body in bodies.items() if not body.get("required")}
    assert optional == {"POST /api/v1/staff/payments/{payment_id}/capture"}, "without a body it captures all"


def test_the_pattern_of_a_key_is_described(document):
    for methods in document["paths"].values():
        for operation in methods.values():
            keys = [p["schema"] for p in operation.get("parameters", ()) if p["name"] == "Idempotency-Key"]
            assert all(key["pattern"] == "^[!-~]{1,255}$" for key in keys)


@pytest.mark.parametrize(
    "path", ["orders/{order_id} get", "orders/{order_id}/timeline get", "orders/{order_id}/cancel post"]
)
def test_a_guests_header_is_described(document, path):
    path, method = path.split(" ")
    parameters = document["paths"][f"/api/v1/{path}"][method]["parameters"]
    assert [p["name"] for p in parameters if p["in"] == "header"] == ["X-Order-Token"]


@pytest.mark.parametrize("path", ["categories", "products", "orders", "notifications"])
def test_a_list_documents_its_paging(document, path):
    parameters = document["paths"][f"/api/v1/{path}"]["get"]["parameters"]
    assert {"page_size", "cursor"} <= {p["name"] for p in parameters}


def test_the_docs_page_loads_nothing_from_other_hosts(document):
    page = Client().get("/api/docs/")
    assert page.status_code == 200
    assert b"//cdn" not in page.content
    assert Client().get("/").headers["Location"] == "/api/docs/"


def test_the_former_address_answers_the_same(document):
    response = Client().get("/api/schema", headers={"Accept": "application/json"}, query_params={"format": "json"})
    assert json.loads(response.content) == document
    assert json.loads(Client().get("/api/schema").content) == document


def test_the_document_names_this_shop_as_its_server(document, settings):
    assert [server["url"] for server in document["servers"]] == [settings.SITE_URL]
    settings.SITE_URL = "https://shop.example"
    other = json.loads(Client().get("/api/openapi.json").content)
    assert [server["url"] for server in other["servers"]] == ["https://shop.example"]


@pytest.mark.parametrize(
    ("operation", "security"),
    [
        ("POST /api/v1/orders", [{}, {"bearer": []}]),
        ("POST /api/v1/carts", [{}, {"bearer": []}]),
        ("GET /api/v1/orders/{order_id}", [{}, {"bearer": []}]),
        ("POST /api/v1/orders/{order_id}/cancel", [{}, {"bearer": []}]),
        ("GET /api/v1/orders", [{"bearer": []}]),
        ("POST /api/v1/staff/stock/receipts", [{"bearer": []}]),
        ("POST /api/v1/auth/token", []),
    ],
)
def test_optional_authentication_is_documented_as_optional(document, operation, security):
    assert list_operations(document)[operation]["security"] == security


def test_a_time_has_the_format_date_time(document):
    times = {}
    for name, schema in document["components"]["schemas"].items():
        for member, declared in schema.get("properties", {}).items():
            if member == "at" or member.endswith("_at"):
                choices = declared.get("anyOf", [declared])
                times[f"{name}.{member}"] = any(choice.get("format") == "date-time" for choice in choices)
    assert len(times) > 5
    assert all(times.values()), times


def test_every_pattern_is_read_alike_by_re2_and_ecma_262(document):
    patterns = [part["pattern"] for part in find_schemas(document) if isinstance(part.get("pattern"), str)]
    assert len(patterns) > 8
    assert {pattern: found for pattern in patterns if (found := find_unportable(pattern))} == {}


@pytest.mark.parametrize("pattern", [r"^a$(?!\n)", r"(?<=a)b", r"\u200b", r"[\"]", r"(a)\1", r"a++", r"^a\Z", "["])
def test_control_an_unportable_pattern_is_found(pattern):
    assert find_unportable(pattern)


def test_a_pattern_is_translated_without_a_change_of_meaning():
    assert to_portable_pattern(r"^[^\"\u200b\x00]{1,64}$(?!\n)") == '^[^"\u200b\\x00]{1,64}$'


def test_what_a_response_always_has_is_required(document):
    order = document["components"]["schemas"]["OrderView"]
    assert set(order["required"]) == set(order["properties"])
    assert {"type": "null"} in order["properties"]["token"]["anyOf"]
    assert "errors" not in document["components"]["schemas"]["Problem"]["required"]


def test_what_a_request_may_omit_is_optional(document):
    order = document["components"]["schemas"]["PlaceOrder"]
    assert order["required"] == ["shipping_address", "payment_method"]
    assert not [name for name, member in order["properties"].items() if "default" in member]
    assert document["components"]["schemas"]["ProfileChange"].get("required", []) == []


def test_a_request_is_closed_and_a_response_is_open(document):
    schemas = document["components"]["schemas"]
    assert schemas["AddressRequest"]["additionalProperties"] is False
    assert "additionalProperties" not in schemas["Address"] | schemas["OrderView"]
    for name, operation in list_operations(document).items():
        for content in operation.get("requestBody", {}).get("content", {}).values():
            body = schemas[content["schema"]["$ref"].rpartition("/")[2]]
            assert body["additionalProperties"] is False, name


def test_a_closed_part_of_a_request_is_open_in_a_response():
    part = {"type": "object", "properties": {"a": {"type": "string", "default": ""}}, "additionalProperties": False}
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Part"}}}
    operation = {"requestBody": {"content": content}, "responses": {"200": {"content": content}}}
    completed = complete_document({"paths": {"/": {"post": operation}}, "components": {"schemas": {"Part": part}}})
    schemas = completed["components"]["schemas"]
    assert schemas["Part"] == part | {"properties": {"a": {"type": "string"}}}
    assert schemas["PartView"]["required"] == ["a"]
    assert "additionalProperties" not in schemas["PartView"]
    answered = completed["paths"]["/"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert answered == {"$ref": "#/components/schemas/PartView"}


def test_every_operation_has_a_summary_a_description_and_examples(document):
    for name, operation in list_operations(document).items():
        assert operation["summary"] and operation["description"], name
        contents = [*operation.get("requestBody", {}).get("content", {}).values()]
        for status, response in operation["responses"].items():
            assert response["description"], (name, status)
            contents += response.get("content", {}).values() if status.startswith("2") else ()
        assert all("example" in content for content in contents), name
        for parameter in operation.get("parameters", ()):
            assert "example" in parameter or not parameter.get("required"), (name, parameter["name"])


def test_every_example_fits_its_schema(document):
    checked = 0
    for name, operation in list_operations(document).items():
        for schema, example in list_examples(operation):
            validator = jsonschema.Draft202012Validator(schema | {"components": document["components"]})
            assert not [error.message for error in validator.iter_errors(example)], (name, example)
            checked += 1
    assert checked > 50


def test_control_a_pattern_without_an_example_is_an_error():
    builder = ExampleBuilder({}, {}, is_request=True)
    with pytest.raises(ExampleMissing, match=r"Coupon\.code"):
        builder.build({"type": "string", "pattern": "^[A-Z]{3}$"}, struct="Coupon", member="code")


def test_an_operation_lists_the_codes_of_each_status(document):
    responses = list_operations(document)["PUT /api/v1/carts/{cart_id}/items/{sku}"]["responses"]
    content = responses["409"]["content"]["application/problem+json"]
    assert content["schema"]["allOf"][0] == {"$ref": "#/components/schemas/Problem"}
    codes = content["schema"]["allOf"][1]["properties"]["code"]["enum"]
    assert codes == ["inventory.out_of_stock", "orders.cart_closed", "orders.cart_full", "orders.currency_mismatch"]
    assert content["examples"]["inventory.out_of_stock"]["value"]["facts"] == {"sku": "<sku>", "available": 1}
    assert "orders.cart_not_found" in json.dumps(responses["404"])
    refused = responses["401"]["content"]["application/problem+json"]["schema"]
    assert refused == {"$ref": "#/components/schemas/ShopUnauthenticatedProblem"}
    shared = document["components"]["schemas"]["ShopUnauthenticatedProblem"]["allOf"]
    assert shared[1]["properties"]["code"]["enum"] == ["shop.unauthenticated"]


def test_examples_are_those_of_the_seeded_shop():
    seed = (settings.BASE_DIR / "contexts" / "inventory" / "seed" / "catalogue.json").read_text()
    for member in ("sku", "slug", "category"):
        assert json.dumps(settings.API_EXAMPLES[member]) in seed
