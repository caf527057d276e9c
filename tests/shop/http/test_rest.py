"""REST conventions: every response is JSON or a problem, without internal details."""

import json

import pytest
from django.test import Client

from tests.shop.http.signed_tokens import sign_token

pytestmark = pytest.mark.urls("tests.shop.http.urls")


def post(path, content, **headers):
    return Client().post(path, content, content_type="application/json", headers=headers)


def assert_problem(response, status, code):
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    problem = json.loads(response.content)
    assert set(problem) - {"errors"} == {"code", "detail", "facts", "request_id", "status", "title", "type"}
    assert (problem["code"], problem["status"]) == (code, status)
    assert problem["type"].endswith(code)
    assert problem["request_id"] == response["X-Request-ID"]
    return problem


def test_a_valid_body_gets_the_first_declared_status():
    response = post("/executions", b'{"sku": "MUG-1", "quantity": 2}')
    assert (response.status_code, response.json()["sku"]) == (201, "MUG-1")


BAD_BODIES = {
    "nothing": b"",
    "not JSON": b"sku=MUG-1",
    "two values": b'{"sku": "MUG-1"} {}',
    "another type": b"[]",
    "null": b"null",
    "a field missing": b"{}",
    "a field of another type": b'{"sku": 5}',
    "a number as text": b'{"sku": "A", "quantity": "2"}',
    "a boolean as a number": b'{"sku": "A", "quantity": true}',
    "a fraction": b'{"sku": "A", "quantity": 1.5}',
    "zero": b'{"sku": "A", "quantity": 0}',
    "negative": b'{"sku": "A", "quantity": -1}',
    "too many": b'{"sku": "A", "quantity": 10001}',
    "2**31": b'{"sku": "A", "quantity": 2147483648}',
    "2**63": b'{"sku": "A", "quantity": 9223372036854775808}',
    "a number of 10,000 digits": b'{"sku": "A", "quantity": ' + b"9" * 10_000 + b"}",
    "1e400": b'{"sku": "A", "quantity": 1e400}',
    "NaN": b'{"sku": "A", "quantity": NaN}',
    "Infinity": b'{"sku": "A", "quantity": -Infinity}',
    "a NUL": b'{"sku": "A", "note": "a\\u0000b"}',
    "a NUL after an escaped backslash": b'{"sku": "A", "note": "a\\\\\\u0000b"}',
    "a raw NUL": b'{"sku": "A", "note": "a\x00b"}',
    "a NUL in an unknown field": b'{"sku": "A", "unknown": "\\u0000"}',
    "a lone surrogate": b'{"sku": "A", "note": "a\\ud800b"}',
    "a lone low surrogate": b'{"sku": "A", "note": "\\udc00 and more"}',
    "an encoded surrogate": b'{"sku": "A", "note": "\xed\xa0\x80"}',
    "Latin-1": '{"sku": "A", "note": "ü"}'.encode("latin-1"),
    "UTF-16": '{"sku": "A"}'.encode("utf-16"),
    "an unknown field": b'{"sku": "A", "unknown": [1]}',
    "a field twice": b'{"sku": "A", "sku": "A"}',
    "a field twice, once with an escape": b'{"sku": "A", "s\\u006bu": "B"}',
    "empty text": b'{"sku": "A", "note": ""}',
    "too long a text": b'{"sku": "A", "note": "' + b"x" * 201 + b'"}',
    "a newline at the end of a pattern": b'{"sku": "A\\n"}',
    "another script's digits": '{"sku": "٣"}'.encode(),
    "100,000 deep": b"[" * 100_000 + b"]" * 100_000,
    "100,000 deep in an unknown field": b'{"sku": "A", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "100,000 objects deep": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES)
def test_a_bad_body_is_a_problem(body):
    problem = assert_problem(post("/executions", body), 400, "shop.bad_body")
    assert problem["detail"] == problem["facts"]["why"] != ""
    assert all(fault["code"] and fault["detail"] and "pointer" in fault for fault in problem["errors"])
    assert not any(word in response_text(problem) for word in DECODER_WORDS)


DECODER_WORDS = ("`$", "Expected `", "`int`", "`str`", "msgspec", "Invalid UTF-8", "JSON is malformed")


def response_text(problem):
    return json.dumps(problem["errors"]) + problem["detail"]


@pytest.mark.parametrize("body", [b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 100_000 + b"1" + b"}" * 100_000])
def test_deep_nesting_is_refused_where_any_json_is_accepted(body):
    assert_problem(post("/free", body), 400, "shop.bad_body")


def test_an_escaped_backslash_before_u0000_is_not_a_nul():
    assert post("/executions", b'{"sku": "A", "note": "a\\\\u0000b"}').status_code == 201


def test_a_body_with_many_backslashes_is_read_in_linear_time():
    assert post("/free", b'"' + b"\\\\" * 400_000 + b'"').status_code == 204


def test_a_body_with_too_many_keys_is_too_large():
    body = b"{" + b",".join(b'"%d":1' % number for number in range(110_000)) + b"}"
    assert_problem(post("/free", body), 413, "shop.too_large")


@pytest.mark.parametrize("path", ["/executions", "/free", "/required", "/unkeyed"])
def test_more_than_a_megabyte_is_too_large(path):
    assert_problem(post(path, b'"' + b"x" * 1_000_001 + b'"'), 413, "shop.too_large")


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=101",
        "limit=x",
        "limit=1.5",
        "limit=NaN",
        "limit=1e400",
        "limit=" + "9" * 5000,
        "limit=-1",
        "search=a%00b",
        "search=" + "x" * 21,
        "limit=1&limit=2",
        "unknown=1",
        "unknown[]=1&search=%F0%9F%8D%8A",
    ],
)
def test_a_bad_query_is_a_problem(query):
    assert_problem(Client().get(f"/executions?{query}"), 400, "shop.bad_query")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", (20, "")),
        ("limit=5", (5, "")),
        ("limit=&search=", (20, "")),
        ("search=%ED%A0%80", (20, "���")),
        ("search=%F0%9F%8D%8A", (20, "🍊")),
        ("utm_source=mail&utm_x=1&gclid=1&fbclid=2&_=3&limit=7", (7, "")),
    ],
)
def test_a_good_query_is_read_by_type(query, expected):
    values = Client().get(f"/executions?{query}").json()
    assert (values["limit"], values["search"]) == expected


def test_an_unknown_path_is_a_problem():
    assert_problem(Client().get("/no/such/page"), 404, "shop.not_found")


@pytest.mark.parametrize("method", ["put", "patch", "delete", "options", "trace"])
def test_a_wrong_method_is_a_problem_that_names_it(method):
    response = getattr(Client(), method)("/executions")
    problem = assert_problem(response, 405, "shop.method_not_allowed")
    assert problem["facts"] == {"method": method.upper()}
    assert {"GET", "POST"} <= set(response["Allow"].replace(" ", "").split(","))


def test_an_unknown_http_method_is_a_problem():
    assert_problem(Client().generic("BREW", "/executions"), 405, "shop.method_not_allowed")


def test_a_wrong_host_is_a_problem():
    assert_problem(Client(headers={"Host": "evil.example"}).get("/executions"), 400, "shop.invalid")


@pytest.mark.parametrize("path", ["/bug", "/bare-bug"])
def test_a_bug_is_a_problem_without_internal_details(path):
    response = Client(raise_request_exception=False).get(path)
    problem = assert_problem(response, 500, "shop.internal_error")
    assert problem["facts"] == {}
    for inside in (b"SELECT", b"secret", b"RuntimeError", b"Traceback", b".py"):
        assert inside not in response.content


def test_a_database_outage_is_503_without_internal_details():
    response = Client().get("/broken")
    assert_problem(response, 503, "shop.unavailable")
    assert response["Retry-After"] == "1"
    assert b"statement" not in response.content


def test_a_rate_limited_caller_gets_retry_after():
    response = Client().get("/busy")
    assert_problem(response, 429, "shop.too_many_requests")
    assert response["Retry-After"] == "17"


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Bearer x", "Basic YTpi", "Bearer a.b.c", "bearer é", "Bearer " + "x" * 10_000]
)
def test_an_unauthenticated_caller_gets_401(header):
    response = Client().get("/customers", headers={"Authorization": header})
    assert_problem(response, 401, "shop.unauthenticated")
    assert response["WWW-Authenticate"] == "Bearer"


def test_a_token_is_checked_even_where_anyone_may_call():
    assert Client().get("/executions", headers={"Authorization": "Bearer x"}).status_code == 401


def test_a_customer_is_identified_by_the_token():
    response = Client().get("/customers", headers={"Authorization": f"bearer {sign_token()}"})
    assert (response.status_code, response.json()["sku"]) == (200, "ada@example.com")


@pytest.mark.parametrize(
    ("permissions", "status"), [((), 403), (["orders.view"], 403), (["orders.change"], 200), (["*"], 200)]
)
def test_staff_are_identified_by_a_permission(permissions, status):
    response = Client().get("/staff", headers={"Authorization": f"Bearer {sign_token(permissions=permissions)}"})
    assert response.status_code == status
    if status == 403:
        assert_problem(response, 403, "shop.forbidden")


def test_head_answers_as_get_without_a_body():
    assert Client().head("/executions").status_code == 200


def test_the_accept_header_is_ignored():
    response = Client().get("/executions", headers={"Accept": "text/html"})
    assert response["Content-Type"] == "application/json"


def test_the_content_type_header_is_ignored():
    response = Client().post("/executions", b'{"sku": "A"}', content_type="text/plain")
    assert response.status_code == 201
