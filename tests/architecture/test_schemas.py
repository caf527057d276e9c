"""What crosses between contexts only grows.

Accept what was added with `KEEP_SCHEMAS=1 python -m pytest tests/architecture/test_schemas.py`.
"""

import copy
import os

import pytest

from contexts.orders.events import OrderPlaced
from tests.architecture import schemas

NOW = {
    "orders.planted v1": {
        "event": {"fields": {"id": {"type": "string"}, "note": {"type": "string", "default": ""}}, "required": ["id"]},
        "Money": {"fields": {"amount": {"type": "integer"}}, "required": ["amount"]},
    }
}


@pytest.fixture(scope="module", autouse=True)
def accepted():
    if "KEEP_SCHEMAS" in os.environ:
        schemas.keep()


def test_nothing_has_changed_in_a_way_that_breaks_who_was_built_yesterday():
    assert schemas.breaking(schemas.kept(), schemas.present()) == []


def test_every_interface_is_in_the_snapshot():
    kept = schemas.kept()
    assert {"users.sign_in_staff (once)", "inventory.out_of_stock (error)"} <= kept.keys()
    reserve = kept["inventory.reserve (idempotent)"]
    assert reserve["arguments"]["required"] == ["hold", "lines", "order_id"]
    assert reserve["Reservation"]["required"] == ["lines", "order_id", "status"]


def test_a_method_that_may_not_be_repeated_any_more_is_another_method():
    after = {"users.profiles (once)": NOW["orders.planted v1"]}
    assert schemas.breaking({"users.profiles (read)": NOW["orders.planted v1"]}, after) == ["users.profiles (read) is gone"]


def test_the_snapshot_knows_everything_that_crosses():
    assert schemas.present() == schemas.kept(), "accept the additions with KEEP_SCHEMAS=1"


def changed(change):
    after = copy.deepcopy(NOW)
    change(after["orders.planted v1"])
    return schemas.breaking(NOW, after)


def test_a_field_with_a_default_may_be_added():
    assert changed(lambda types: types["event"]["fields"].update(new={"type": "integer", "default": 0})) == []


def add_required(types):
    types["event"]["fields"]["new"] = {"type": "integer"}
    types["event"]["required"].append("new")


BREAKING = {
    "orders.planted v1 event.id is gone": lambda types: types["event"]["fields"].pop("id"),
    "orders.planted v1 event.id has another type": lambda types: types["event"]["fields"].update(id={"type": "integer"}),
    "orders.planted v1 event.new is new and has no default": add_required,
    "orders.planted v1 event.note has lost its default": lambda types: types["event"]["required"].append("note"),
    "orders.planted v1 Money.amount has another type": lambda types: types["Money"]["fields"].update(amount={"type": "number"}),
    "orders.planted v1 Money.amount is gone": lambda types: types.pop("Money"),
}


@pytest.mark.parametrize(("said", "change"), BREAKING.items(), ids=BREAKING)
def test_a_breaking_change_is_found(said, change):
    assert changed(change) == [said]


@pytest.mark.parametrize(("upcast", "said"), [(True, []), (False, ["orders.order_placed v1 is gone"])])
def test_a_new_version_has_to_say_how_the_old_one_is_told(monkeypatch, upcast, said):
    if upcast:
        monkeypatch.setattr(OrderPlaced, "upcast", classmethod(lambda cls, version, facts: facts))
    v1, v2 = ({f"orders.order_placed v{n}": NOW["orders.planted v1"]} for n in (1, 2))
    assert schemas.breaking(v1, v2) == said


def test_an_event_that_is_gone_is_found():
    assert schemas.breaking(NOW, {}) == ["orders.planted v1 is gone"]
