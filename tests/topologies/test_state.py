"""One seeded story, told to the shop in one process or in five: the five databases hold the same in the end."""

import json
import os
from pathlib import Path

import pytest

from contexts.orders.events import OrderConfirmed
from shop.database import changed, transaction
from shop.ids import uuid7
from shop.money import Money
from shop.outbox import publish
from tests.environment import TOPOLOGY
from tests.topologies import five, scenario
from tests.topologies.repeats import repeated_at_the_end
from tests.topologies.state import canonical, hashes

EXPECTED = Path(__file__).with_name("state.json")  # written anew by WRITE_STATE=1


# Who calls whom while the story is told, if there is a way to go: downwards, and with facts to whoever listens.
CALLS = {
    "orders": {
        "inventory.inbox.accept", "inventory.quote", "inventory.release", "inventory.reserve", "notifications.inbox.accept",
        "payments.authorize", "payments.cancel", "payments.capture", "payments.of_orders", "users.profiles",
    },
    "inventory": {"orders.inbox.accept"},
    "payments": {"orders.inbox.accept"},
    "users": {"notifications.inbox.accept"},
    "notifications": {"orders.summaries"},
}  # fmt: skip


@pytest.fixture(scope="module")
def told(django_db_setup):
    """The state in which the story ends, also if all calls are made once more; and the calls between processes meanwhile."""
    before = five.current.calls() if five.current else {}
    with repeated_at_the_end():
        scenario.play()
    after = five.current.calls() if five.current else {}
    return canonical(), {context: set(made - before[context]) for context, made in after.items()}


@pytest.fixture
def state(told):
    return told[0]


def test_the_same_story_ends_in_the_same_state(state, tmp_path_factory):
    if os.environ.get("WRITE_STATE"):
        EXPECTED.write_text(json.dumps(hashes(state), indent=2) + "\n")
    said = Path(os.environ.get("STATE_TEXT") or tmp_path_factory.getbasetemp() / f"state-{TOPOLOGY}.txt")
    said.write_text("".join(f"{table} {line}\n" for table, lines in state.items() for line in lines))
    assert hashes(state) == json.loads(EXPECTED.read_text()), f"{said} holds it; compare it with another topology's STATE_TEXT"


def test_in_five_processes_all_calls_go_from_one_to_another_and_in_one_none(told):
    assert told[1] == (CALLS if TOPOLOGY == "remote" else {})


def differing(state: dict[str, list[str]]) -> set[str]:
    before, now = hashes(state), hashes(canonical())
    return {table for table in before | now if before.get(table) != now.get(table)}


def test_control_one_unit_of_stock_is_noticed(state):
    assert differing(state) == set()
    changed("inventory", "UPDATE inventory_stock SET on_hand = on_hand + 1 WHERE sku = 'MUG'")
    assert differing(state) == {"inventory.inventory_stock", "all"}
    changed("inventory", "UPDATE inventory_stock SET on_hand = on_hand - 1 WHERE sku = 'MUG'")


def test_control_one_fact_more_is_noticed(state):
    order_id = uuid7()
    with transaction("orders"):
        publish(OrderConfirmed(order_id=order_id, number="MORE", user_id=None, total=Money(1, "EUR")), sequence=1)
    assert differing(state) == {"orders.shop_outboxevent", "orders.shop_delivery", "all"}
    for table in ("shop_delivery", "shop_outboxevent"):
        changed("orders", f"DELETE FROM {table} WHERE stream = %s", [f"orders.order:{order_id}"])
    assert differing(state) == set()
