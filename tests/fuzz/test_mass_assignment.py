"""Fields that no client may set: sent along with a good request, none of them arrives anywhere.

Every column of every table is tried as a field's name, with a value that no digest or id can hold by chance.
"""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings

from shop.database import rows
from tests.fuzz.matrix import MATRIX, Request, callers
from tests.shopper import InProcess

WRITES = [entry for entry in MATRIX if entry.split(" ")[0] in ("POST", "PUT", "PATCH")]
OWN = [app for app in apps.get_app_configs() if app.name == "shop" or app.name.startswith("contexts.")]
COLUMNS = sorted({field.attname for app in OWN for model in app.get_models() for field in model._meta.concrete_fields})
MORE = ["is_staff", "is_superuser", "is_admin", "role", "user", "owner", "price", "discount", "amount", "currency", "links"]


def canaries() -> dict[str, Any]:
    """A value of each type, each findable in a table's text."""
    mark = uuid.uuid4()
    number = 9_000_000_000 + mark.int % 999_999_999
    return {"text": f"canary-{mark.hex}", "id": str(mark), "number": number, "list": [f"canary-{mark.hex}"],
            "money": {"amount": number, "currency": "EUR"}}  # fmt: skip


def spoiled(body: Any, value: Any) -> Any:
    """The body with all the names that it does not have, in every object of it."""
    if isinstance(body, dict):
        inner = {name: spoiled(part, value) for name, part in body.items()}
        return {name: value for name in (*COLUMNS, *MORE) if name not in body} | inner
    return [spoiled(part, value) for part in body] if isinstance(body, list) else body


def tables() -> Iterator[tuple[str, str]]:
    for alias in settings.CONTEXTS:
        for (name,) in rows(alias, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"):
            yield alias, name


def text_of(value: Any) -> str:
    return value[0] if isinstance(value, list) else str(value["amount"] if isinstance(value, dict) else value)


def arrived(values: list[Any]) -> list[str]:
    """The tables that hold one of the values somewhere."""
    patterns = [f"%{text_of(value)}%" for value in values]
    held = "SELECT 1 FROM {table} AS row WHERE row::text LIKE ANY(%s) LIMIT 1"
    return [f"{alias}.{table}" for alias, table in tables() if rows(alias, held.format(table=table), [patterns])]


def with_these(entry: str, value: Any) -> tuple[InProcess, str, Request]:
    declared = MATRIX[entry]
    people = callers(declared.permission)
    asked = declared.ask(people["owner"])
    body = {} if asked.body is None else asked.body
    return people[declared.role], entry.split(" ")[0], Request(asked.path, spoiled(body, value), asked.headers)


@pytest.mark.parametrize("entry", WRITES)
def test_no_field_of_a_table_can_be_set_from_outside(entry):
    good, values = MATRIX[entry].answer(MATRIX[entry].role), canaries()
    for kind, value in values.items():
        caller, method, asked = with_these(entry, value)
        answer = caller.send(method, asked.path, asked.body, **asked.headers)
        assert answer.status in (good, 400), (kind, answer.body)
        assert answer.status == 400 or text_of(value) not in answer.content.decode(), f"the answer repeats the {kind}"
    assert arrived(list(values.values())) == []


def test_there_is_much_to_try():
    assert len(COLUMNS) > 80 and {"status", "total", "permissions", "is_active", "user_id", "captured"} <= set(COLUMNS)
    assert len(WRITES) >= 14


def test_what_arrives_is_found():
    value = canaries()["text"]
    owner = callers("nothing.view")["owner"]
    assert owner.send("PATCH", "users/me", {"full_name": value}).status == 200
    assert arrived([value]) == ["users.users_user"]


def test_switches_stay_as_they_are():
    """A boolean leaves no trace that one could look for: the account and its rights are looked at instead."""
    who = callers("nothing.view")["owner"]
    for value in (True, False, ["*"]):
        given = {"full_name": "Ada", "is_active": value, "is_staff": value, "permissions": value}
        assert who.send("PATCH", "users/me", given).status == 200
    assert who.post("staff/stock/receipts", {}).status == 403
    [(active, permissions)] = rows(
        "users", "SELECT is_active, permissions FROM users_user WHERE id = %s", [who.get("users/me").body["id"]]
    )
    assert (active, permissions) == (True, [])
