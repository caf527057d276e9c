"""Schemas of events and interfaces only change in ways that keep the previous release working.

After an addition run `UPDATE_SCHEMAS=1 .venv/bin/python -m pytest tests/architecture/test_schemas.py` and commit
the changed files in contexts/*/schemas/. A change that breaks the previous release is not written: it needs a new
version of the event, or a new method next to the old one.
"""

import copy
import os

import pytest
from django.conf import settings

from contexts.orders.events import OrderPlaced
from tests.architecture import schemas

CURRENT = {
    "orders.planted v1": {
        "event": {"fields": {"id": {"type": "string"}, "note": {"type": "string", "default": ""}}, "required": ["id"]},
        "Money": {"fields": {"amount": {"type": "integer"}}, "required": ["amount"]},
    }
}


@pytest.fixture(scope="module", autouse=True)
def update_published_schemas():
    if "UPDATE_SCHEMAS" in os.environ:
        schemas.update_files(schemas.current_files())


def test_no_change_breaks_the_previous_release():
    published, current = (schemas.merge_files(files) for files in (schemas.load_files(), schemas.current_files()))
    assert schemas.find_breaking_changes(published, current) == []


def test_the_published_schemas_are_current():
    assert schemas.load_files() == schemas.current_files(), "add the new schemas with UPDATE_SCHEMAS=1"


def test_every_context_publishes_its_schemas():
    files = schemas.load_files()
    assert {path.split("/")[0] for path in files} == set(settings.ALL_CONTEXTS)
    assert "users.sign_in_staff (once)" in files["users/schemas/interface.json"]
    assert "inventory.out_of_stock (error)" in files["inventory/schemas/interface.json"]
    assert "orders.order_placed v1" in files["orders/schemas/events.json"]
    reserve = files["inventory/schemas/interface.json"]["inventory.reserve (idempotent)"]
    assert reserve["arguments"]["required"] == ["hold", "lines", "order_id"]
    assert reserve["Reservation"]["required"] == ["lines", "order_id", "status"]


PUBLISHED = {"orders/schemas/events.json": CURRENT}


def test_an_addition_is_written(tmp_path):
    (tmp_path / "orders").mkdir()
    schemas.update_files(PUBLISHED, tmp_path)
    added = {"orders/schemas/events.json": CURRENT | {"orders.added v1": CURRENT["orders.planted v1"]}}
    schemas.update_files(added, tmp_path)
    assert schemas.load_files(tmp_path) == added


def test_a_breaking_change_is_not_written(tmp_path):
    (tmp_path / "orders").mkdir()
    schemas.update_files(PUBLISHED, tmp_path)
    schemas.update_files({}, tmp_path)
    assert schemas.load_files(tmp_path) == PUBLISHED


def test_a_schema_in_another_file_is_moved(tmp_path):
    (tmp_path / "orders").mkdir()
    schemas.update_files({"orders/schemas/old.json": CURRENT}, tmp_path)
    schemas.update_files(PUBLISHED, tmp_path)
    assert schemas.load_files(tmp_path) == PUBLISHED


def test_a_weaker_repeat_guarantee_is_a_breaking_change():
    after = {"users.profiles (once)": CURRENT["orders.planted v1"]}
    assert schemas.find_breaking_changes({"users.profiles (read)": CURRENT["orders.planted v1"]}, after) == [
        "users.profiles (read) is missing"
    ]


def changes_after(change):
    after = copy.deepcopy(CURRENT)
    change(after["orders.planted v1"])
    return schemas.find_breaking_changes(CURRENT, after)


def test_a_field_with_a_default_may_be_added():
    assert changes_after(lambda types: types["event"]["fields"].update(new={"type": "integer", "default": 0})) == []


def add_required(types):
    types["event"]["fields"]["new"] = {"type": "integer"}
    types["event"]["required"].append("new")


BREAKING = {
    "orders.planted v1 event.id is missing": lambda types: types["event"]["fields"].pop("id"),
    "orders.planted v1 event.id has another type": lambda types: types["event"]["fields"].update(
        id={"type": "integer"}
    ),
    "orders.planted v1 event.new is new and has no default": add_required,
    "orders.planted v1 event.note has lost its default": lambda types: types["event"]["required"].append("note"),
    "orders.planted v1 Money.amount has another type": lambda types: types["Money"]["fields"].update(
        amount={"type": "number"}
    ),
    "orders.planted v1 Money.amount is missing": lambda types: types.pop("Money"),
}


@pytest.mark.parametrize(("expected", "change"), BREAKING.items(), ids=BREAKING)
def test_a_breaking_change_is_found(expected, change):
    assert changes_after(change) == [expected]


@pytest.mark.parametrize(("upcast", "expected"), [(True, []), (False, ["orders.order_placed v1 is missing"])])
def test_a_new_event_version_needs_an_upcast(monkeypatch, upcast, expected):
    if upcast:
        monkeypatch.setattr(OrderPlaced, "upcast", classmethod(lambda cls, version, facts: facts))
    v1, v2 = ({f"orders.order_placed v{n}": CURRENT["orders.planted v1"]} for n in (1, 2))
    assert schemas.find_breaking_changes(v1, v2) == expected


def test_a_removed_event_is_found():
    assert schemas.find_breaking_changes(CURRENT, {}) == ["orders.planted v1 is missing"]
