"""The committed OpenAPI document, and what of a change breaks the clients that were generated from it."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from ops.topology import openapi

ORDER = "/api/v1/orders"
RESPONSE = "POST /api/v1/orders 201"


@pytest.fixture
def document():
    return openapi.build_document()


def test_the_committed_document_is_up_to_date():
    call_command("openapi", check=True)


def test_the_document_can_be_printed(document):
    output = StringIO()
    call_command("openapi", stdout=output)
    assert json.loads(output.getvalue()) == document


def test_the_committed_document_does_not_depend_on_the_address_of_the_shop(document, settings):
    settings.SITE_URL = "https://shop.example"
    assert openapi.build_document() == document


def schemas(document):
    return document["components"]["schemas"]


def remove_path(document):
    del document["paths"][ORDER]


def remove_operation(document):
    del document["paths"][ORDER]["get"]


def remove_response(document):
    del document["paths"][ORDER]["post"]["responses"]["202"]


def remove_parameter(document):
    document["paths"][ORDER]["get"]["parameters"].pop(0)


def require_parameter(document):
    document["paths"][ORDER]["get"]["parameters"].append({"in": "query", "name": "q", "required": True, "schema": {}})


def require_authentication(document):
    document["paths"][ORDER]["post"]["security"] = [{"bearer": []}]


def remove_response_member(document):
    del schemas(document)["OrderView"]["properties"]["cancellable"]


def remove_nested_response_member(document):
    del schemas(document)["Money"]["properties"]["currency"]


def make_response_member_optional(document):
    schemas(document)["OrderView"]["required"].remove("number")


def change_type_of_a_member(document):
    schemas(document)["OrderLine"]["properties"]["quantity"] = {"type": "string"}


def remove_enum_value(document):
    schemas(document)["OrderView"]["properties"]["status"]["enum"].remove("on_hold")


def remove_request_member(document):
    del schemas(document)["PlaceOrder"]["properties"]["email"]


def require_request_member(document):
    schemas(document)["AddressRequest"]["required"].append("region")


BREAKING = {
    remove_path: "POST /api/v1/orders was removed",
    remove_operation: "GET /api/v1/orders was removed",
    remove_response: "POST /api/v1/orders: response 202 was removed",
    remove_parameter: "GET /api/v1/orders: parameter cursor was removed",
    require_parameter: "GET /api/v1/orders: parameter q is required now",
    require_authentication: "POST /api/v1/orders: authentication is required now",
    remove_response_member: f"{RESPONSE}/cancellable was removed",
    remove_nested_response_member: f"{RESPONSE}/totals/tax/currency was removed",
    make_response_member_optional: f"{RESPONSE}/number is optional now",
    change_type_of_a_member: f"{RESPONSE}/lines/*/quantity: integer became string",
    remove_enum_value: f"{RESPONSE}/status: value on_hold was removed",
    remove_request_member: "POST /api/v1/orders/email was removed",
    require_request_member: "POST /api/v1/orders/shipping_address/region is required now",
}


@pytest.mark.parametrize("change", BREAKING, ids=lambda change: change.__name__)
def test_a_change_that_breaks_clients_is_found(document, change):
    changed = json.loads(json.dumps(document))
    change(changed)
    assert BREAKING[change] in openapi.find_breaking_changes(document, changed)


def add_path(document):
    document["paths"]["/api/v1/more"] = document["paths"][ORDER]


def add_response_member(document):
    schemas(document)["OrderView"]["properties"]["more"] = {"type": "string"}


def add_optional_request_member(document):
    schemas(document)["PlaceOrder"]["properties"]["more"] = {"type": "string"}


def add_enum_value(document):
    schemas(document)["OrderView"]["properties"]["status"]["enum"].append("returned")


@pytest.mark.parametrize(
    "change", [add_path, add_response_member, add_optional_request_member, add_enum_value], ids=lambda c: c.__name__
)
def test_control_an_addition_breaks_nothing(document, change):
    changed = json.loads(json.dumps(document))
    change(changed)
    assert openapi.find_breaking_changes(document, changed) == []


def test_a_breaking_change_is_written_only_on_request(document, tmp_path, monkeypatch):
    committed = json.loads(json.dumps(document))
    schemas(committed)["OrderView"]["properties"]["gone"] = {"type": "string"}
    path = tmp_path / "openapi.json"
    path.write_text(openapi.render_document(committed))
    monkeypatch.setattr(openapi, "DOCUMENT_PATH", path)
    for arguments in ({"check": True}, {"write": True}):
        with pytest.raises(CommandError, match="/gone was removed"):
            call_command("openapi", **arguments)
    assert json.loads(path.read_text()) == committed
    call_command("openapi", write=True, allow_breaking=True)
    assert json.loads(path.read_text()) == document


def test_a_document_that_is_out_of_date_is_found(document, tmp_path, monkeypatch):
    path = tmp_path / "openapi.json"
    path.write_text(openapi.render_document(document | {"info": {}}))
    monkeypatch.setattr(openapi, "DOCUMENT_PATH", path)
    with pytest.raises(CommandError, match="out of date"):
        call_command("openapi", check=True)
