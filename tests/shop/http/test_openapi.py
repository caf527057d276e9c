"""The OpenAPI document and the documentation page."""

import json
import re

import pytest
from django.core.management import call_command
from django.test import Client

DOCUMENTED_OPERATIONS = """
POST auth/register · POST auth/token · POST auth/token/refresh · POST auth/logout · GET users/me · PATCH users/me
GET categories · GET products · GET products/{slug} · POST carts · GET carts/{cart_id}
PUT carts/{cart_id}/items/{sku} · DELETE carts/{cart_id}/items/{sku} · GET orders · POST orders · GET orders/{order_id}
GET orders/{order_id}/timeline · POST orders/{order_id}/cancel · GET payments/{payment_id}
POST payments/{payment_id}/refunds · GET notifications
"""


@pytest.fixture(scope="module")
def document():
    response = Client().get("/api/schema", headers={"Accept": "application/json"}, query_params={"format": "json"})
    assert response.status_code == 200
    return json.loads(response.content)


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
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    bodies = [operation["requestBody"] for operation in operations if "requestBody" in operation]
    assert len(bodies) > 8
    assert all(list(body["content"]) == ["application/json"] and body["required"] for body in bodies)


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
