"""Every fault of a request is answered at once: with its place, a stable code, and plain words."""

import json
from typing import Annotated, Literal
from uuid import UUID

import msgspec
import pytest
from django.test import Client

from shop.http.field_errors import MAX_FIELD_ERRORS, find_field_errors
from shop.http.reading import RequestBody
from shop.http.rest import ANYONE, Sku, View, endpoint
from tests.shop.http.signed_tokens import sign_token

pytestmark = pytest.mark.urls("tests.shop.http.urls")


class Part(RequestBody):
    """A part of a request."""

    sku: Sku
    quantity: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1


class Body(RequestBody):
    """A request with a member of each type."""

    parts: Annotated[list[Part], msgspec.Meta(min_length=1, max_length=3)]
    kind: Literal["small", "large"] = "small"
    id: UUID | None = None
    note: Annotated[str, msgspec.Meta(min_length=2, max_length=5)] | None = None
    weight: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    is_gift: bool = False
    choice: int | list[str] = 1
    names: dict[str, int] = {}


PART = {"sku": "A"}
FAULTS = {
    "nothing": ([], [("", "wrong_type")]),
    "a missing member": ({}, [("/parts", "required")]),
    "no entries": ({"parts": []}, [("/parts", "too_few")]),
    "too many entries": ({"parts": [PART] * 4}, [("/parts", "too_many")]),
    "an entry": ({"parts": [PART, 5]}, [("/parts/1", "wrong_type")]),
    "a member of an entry": ({"parts": [PART, {"sku": "a b"}]}, [("/parts/1/sku", "invalid_format")]),
    "an empty text": ({"parts": [PART], "note": ""}, [("/note", "blank")]),
    "a short text": ({"parts": [PART], "note": "a"}, [("/note", "too_short")]),
    "a long text": ({"parts": [PART], "note": "a" * 6}, [("/note", "too_long")]),
    "a text of another type": ({"parts": [PART], "note": 5}, [("/note", "wrong_type")]),
    "a choice": ({"parts": [PART], "kind": "huge"}, [("/kind", "not_allowed")]),
    "a UUID": ({"parts": [PART], "id": "1"}, [("/id", "invalid_format")]),
    "a small number": ({"parts": [{"sku": "A", "quantity": 0}]}, [("/parts/0/quantity", "out_of_range")]),
    "a great number": ({"parts": [{"sku": "A", "quantity": 1001}]}, [("/parts/0/quantity", "out_of_range")]),
    "a negative weight": ({"parts": [PART], "weight": -1.5}, [("/weight", "out_of_range")]),
    "a truth value": ({"parts": [PART], "is_gift": "yes"}, [("/is_gift", "wrong_type")]),
    "one of two types": ({"parts": [PART], "choice": {}}, [("/choice", "wrong_type")]),
    "an entry of one of two types": ({"parts": [PART], "choice": ["a", 1]}, [("/choice/1", "wrong_type")]),
    "a value of a map": ({"parts": [PART], "names": {"a": 1, "b": "2"}}, [("/names/b", "wrong_type")]),
    "an unknown member": ({"parts": [PART], "coupon": 1}, [("/coupon", "unknown_member")]),
    "an unknown member of an entry": ({"parts": [{"sku": "A", "cost": 1}]}, [("/parts/0/cost", "unknown_member")]),
    "a name with a slash and a tilde": ({"parts": [PART], "a/b~c": 1}, [("/a~1b~0c", "unknown_member")]),
    "several at once": (
        {"parts": [{"quantity": 0}], "kind": 1, "id": 5, "surprise": True},
        [
            ("/parts/0/sku", "required"),
            ("/parts/0/quantity", "out_of_range"),
            ("/kind", "not_allowed"),
            ("/id", "wrong_type"),
            ("/surprise", "unknown_member"),
        ],
    ),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_all_faults_have_a_pointer_and_a_code(kind):
    value, expected = FAULTS[kind]
    assert [(fault.pointer, fault.code) for fault in find_field_errors(value, Body)] == expected
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(value, Body)


def test_a_value_that_is_decoded_has_no_fault():
    value = {"parts": [{"sku": "A", "quantity": 1000}], "kind": "large", "id": "01890a5d-ac96-774b-bcce-b302099a8057",
             "note": None, "weight": 2, "is_gift": True, "choice": ["a"], "names": {"a": 1}}  # fmt: skip
    assert find_field_errors(value, Body) == ()
    assert msgspec.convert(value, Body).choice == ["a"]


def test_the_texts_are_plain():
    value = {"parts": [{"sku": "a b", "quantity": "2"}], "note": "a" * 6, "knd": "large"}
    assert [fault.detail for fault in find_field_errors(value, Body)] == [
        "Does not have the required format. Use letters, digits, dots, underscores and hyphens.",
        "Must be a whole number, not text.",
        "Must have at most 5 characters, not 6.",
        "`knd` is not known here. Did you mean `kind`?",
    ]


def test_the_number_of_faults_in_a_response_is_limited():
    faults = find_field_errors({f"surprise{n}": 1 for n in range(1000)}, Body)
    assert len(faults) == MAX_FIELD_ERRORS


def post(content):
    return Client().post("/executions", content, content_type="application/json")


SYNTAX_FAULTS = {
    b"": "The request has no body. Send a JSON text.",
    b'{"sku": "A",\n "quantity" 2}': "Not valid JSON in line 2, column 13: A colon is missing after the name of a member.",
    b'{"sku": "A",': "Not valid JSON in line 1, column 13: The text ends before the JSON value is complete.",
    b'{sku: "A"}': "Not valid JSON in line 1, column 2: A member name in double quotes is expected here.",
    b'{"sku": "A"} {}': "Not valid JSON in line 1, column 14: There is more text after the end of the JSON value.",
    b'{"sku": NaN}': "NaN is not a JSON number.",
    b'{"sku": "\xff"}': "The text is not UTF-8: byte 10 cannot be decoded.",
}


@pytest.mark.parametrize("content", SYNTAX_FAULTS)
def test_a_syntax_error_names_its_line_and_column(content):
    problem = post(content).json()
    assert problem["errors"] == [
        {"pointer": "", "code": problem["errors"][0]["code"], "detail": SYNTAX_FAULTS[content]}
    ]
    assert problem["detail"] == SYNTAX_FAULTS[content]


@pytest.mark.parametrize(
    ("content", "pointer"),
    [(b'{"sku": "A", "quantity": 1, "quantity": 1}', "/quantity"), (b'{"sku": "A", "s\\u006bu": "B"}', "/sku")],
)
def test_a_member_that_occurs_twice_is_refused(content, pointer):
    assert [(fault["pointer"], fault["code"]) for fault in post(content).json()["errors"]] == [
        (pointer, "duplicate_member")
    ]


def test_the_same_member_in_two_objects_is_no_repetition():
    assert Client().post("/free", b'[{"a": 1}, {"a": 1}]', content_type="application/json").status_code == 204
    twice = Client().post("/free", b'[{"a": 1, "a": 1}]', content_type="application/json")
    assert (twice.status_code, twice.json()["code"]) == (400, "shop.bad_body")


def test_a_body_where_none_is_taken_is_refused():
    for content, status in ((b"", 204), (b" \n", 204), (b"{}", 204), (b'{"reason": 1}', 400), (b"reason=1", 400)):
        assert Client().post("/bodyless", content, content_type="application/json").status_code == status, content
    problem = Client().post("/bodyless", b'{"reason": 1}', content_type="application/json").json()
    assert problem["errors"] == [
        {"pointer": "/reason", "code": "unknown_member", "detail": "`reason` is not known here."}
    ]


def test_all_faults_of_a_query_are_answered_by_parameter():
    problem = Client().get("/executions?limit=101&search=" + "x" * 21 + "&page=2&utm_medium=mail").json()
    assert problem["code"] == "shop.bad_query"
    assert problem["errors"] == [
        {"parameter": "limit", "code": "out_of_range", "detail": "Must be between 1 and 100."},
        {"parameter": "search", "code": "too_long", "detail": "Must have at most 20 characters, not 21."},
        {"parameter": "page", "code": "unknown_parameter", "detail": "`page` is not known here."},
    ]


@pytest.mark.parametrize("query", ["limit=x", "limit=1.5", "limit=1_0", "limit=%EF%BC%91", "limit=1&limit=1"])
def test_a_parameter_of_another_type_is_named(query):
    [fault] = Client().get(f"/executions?{query}").json()["errors"]
    assert fault["parameter"] == "limit" and fault["code"] in ("wrong_type", "repeated")


def test_null_in_a_query_is_no_number():
    """msgspec reads the text null as no value, so the filter would be ignored silently."""
    for text in ("null", "Null", "NULL"):
        response = Client().get(f"/executions?maximum={text}")
        assert response.status_code == 400, text
        assert [(fault["parameter"], fault["code"]) for fault in response.json()["errors"]] == [
            ("maximum", "wrong_type")
        ]
        assert Client().get(f"/executions?name={text}").status_code == 200


def test_a_query_with_too_many_parameters_is_refused_in_plain_words(settings):
    settings.DATA_UPLOAD_MAX_NUMBER_FIELDS = 1_000
    response = Client().get("/executions?" + "limit=1&" * 1001)
    assert (response.status_code, response.json()["code"]) == (400, "shop.bad_query")
    [fault] = response.json()["errors"]
    assert (fault["code"], fault["detail"]) == ("too_many", "The query has more than 1,000 parameters.")


@pytest.mark.parametrize(("method", "path"), [("get", "/staff"), ("get", "/customers"), ("post", "/bodyless")])
def test_every_endpoint_refuses_a_query_that_it_does_not_read(method, path):
    headers = {"Authorization": f"Bearer {sign_token(permissions=['*'])}"}
    send = getattr(Client(), method)
    assert send(f"{path}?utm_source=mail&_=1", headers=headers).status_code in (200, 204)
    problem = send(f"{path}?dry_run=true", headers=headers).json()
    assert (problem["code"], problem["errors"][0]["parameter"]) == ("shop.bad_query", "dry_run")


def test_a_method_that_reads_its_body_itself_takes_any_query():
    assert Client().post("/raw?account=1", b"<xml/>", content_type="text/xml").status_code == 204


def test_the_type_of_a_problem_is_its_entry_on_the_page_of_errors(settings):
    problem = json.loads(post(b"{}").content)
    assert problem["type"] == f"{settings.SITE_URL}/api/docs/errors#shop.bad_body"


def test_an_endpoint_whose_body_would_ignore_members_cannot_be_declared():
    class Lenient(msgspec.Struct):
        name: str = ""

    class Strict(RequestBody):
        part: Lenient | None = None

    with pytest.raises(TypeError, match="Lenient"):

        class Planted(View):
            @endpoint(access=ANYONE, body=list[Strict], responses={204: None})
            def post(self, request, body):
                """Take a body."""
