"""Mass assignment: fields that no client may set are added to valid requests, and none of their values is stored.

The names of all columns of all tables are tried, with values that no digest or id can contain by chance.
"""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings

from shop.db.database import fetch_rows
from tests.fuzz.matrix import MATRIX, Request, create_callers
from tests.shopper import InProcessShopper

WRITES = [entry for entry in MATRIX if entry.split(" ")[0] in ("POST", "PUT", "PATCH")]
OWN_APPS = [app for app in apps.get_app_configs() if app.name == "shop" or app.name.startswith("contexts.")]
COLUMNS = sorted(
    {field.attname for app in OWN_APPS for model in app.get_models() for field in model._meta.concrete_fields}
)
EXTRA_FIELDS = [
    "is_staff",
    "is_superuser",
    "is_admin",
    "role",
    "user",
    "owner",
    "price",
    "discount",
    "amount",
    "currency",
    "links",
]


def canaries() -> dict[str, Any]:
    """Return a value of each type that can be found in the text of a row."""
    mark = uuid.uuid4()
    number = 9_000_000_000 + mark.int % 999_999_999
    return {"text": f"canary-{mark.hex}", "id": str(mark), "number": number, "list": [f"canary-{mark.hex}"],
            "money": {"amount": number, "currency": "EUR"}}  # fmt: skip


def with_extra_fields(body: Any, value: Any) -> Any:
    """Add all names to every object of a body that does not have them."""
    if isinstance(body, dict):
        inner = {name: with_extra_fields(part, value) for name, part in body.items()}
        return {name: value for name in (*COLUMNS, *EXTRA_FIELDS) if name not in body} | inner
    return [with_extra_fields(part, value) for part in body] if isinstance(body, list) else body


def tables() -> Iterator[tuple[str, str]]:
    for alias in settings.CONTEXTS:
        for (name,) in fetch_rows(alias, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"):
            yield alias, name


def text_of(value: Any) -> str:
    return value[0] if isinstance(value, list) else str(value["amount"] if isinstance(value, dict) else value)


def tables_containing(values: list[Any]) -> list[str]:
    """Return the tables in which a row contains one of the values."""
    patterns = [f"%{text_of(value)}%" for value in values]
    contains = "SELECT 1 FROM {table} AS row WHERE row::text LIKE ANY(%s) LIMIT 1"
    return [
        f"{alias}.{table}" for alias, table in tables() if fetch_rows(alias, contains.format(table=table), [patterns])
    ]


def build_tampered_request(entry: str, value: Any) -> tuple[InProcessShopper, str, Request]:
    declared = MATRIX[entry]
    callers = create_callers(declared.permission)
    request = declared.build_request(callers["owner"])
    body = {} if request.body is None else request.body
    return (
        callers[declared.allowed_role],
        entry.split(" ")[0],
        Request(request.path, with_extra_fields(body, value), request.headers),
    )


@pytest.mark.parametrize("entry", WRITES)
def test_no_field_of_a_table_can_be_set_from_outside(entry):
    values = canaries()
    for kind, value in values.items():
        caller, method, request = build_tampered_request(entry, value)
        answer = caller.send(method, request.path, request.body, **request.headers)
        assert (answer.status, answer.body["code"]) == (400, "shop.bad_body"), f"the {kind} is ignored"
        assert text_of(value) not in answer.content.decode(), f"the answer repeats the {kind}"
    assert tables_containing(list(values.values())) == []


def test_the_lists_of_fields_and_writes_are_long():
    assert len(COLUMNS) > 80 and {"status", "total", "permissions", "is_active", "user_id", "captured"} <= set(COLUMNS)
    assert len(WRITES) >= 14


def test_a_stored_canary_is_found():
    value = canaries()["text"]
    owner = create_callers("users.view")["owner"]
    assert owner.send("PATCH", "users/me", {"full_name": value}).status == 200
    assert tables_containing([value]) == ["users.users_user"]


def test_boolean_fields_cannot_be_set():
    """A boolean cannot be found as a value, so this test reads the account and its permissions."""
    owner = create_callers("users.view")["owner"]
    for value in (True, False, ["*"]):
        given = {"full_name": "Ada", "is_active": value, "is_staff": value, "permissions": value}
        assert owner.send("PATCH", "users/me", given).status == 400
    assert owner.post("staff/stock/receipts", {}).status == 403
    [(active, permissions)] = fetch_rows(
        "users", "SELECT is_active, permissions FROM users_user WHERE id = %s", [owner.get("users/me").body["id"]]
    )
    assert (active, permissions) == (True, [])
