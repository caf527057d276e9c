"""One scenario ends with the same state of the five databases, with the shop in one process or in five."""

import json
import os
from pathlib import Path

import pytest

from contexts.orders.events import OrderConfirmed
from shop.db.database import execute, transaction
from shop.ids import uuid7
from shop.messaging.outbox import Revision, publish
from shop.money import Money
from tests.environment import TOPOLOGY
from tests.topologies import five_processes, scenario
from tests.topologies.repeated_calls import repeat_calls_at_end
from tests.topologies.state import hashes, load_canonical_state

EXPECTED = Path(__file__).with_name("state.json")  # written anew by WRITE_STATE=1


# The calls between processes during the scenario: to contexts in lower layers, and events to their subscribers.
CALLS = {
    "orders": {
        "inventory.inbox.accept", "inventory.offers", "inventory.quote", "inventory.release", "inventory.reserve",
        "notifications.inbox.accept",
        "payments.authorize", "payments.cancel", "payments.capture", "payments.capture_orders", "payments.of_orders",
        "payments.refunds_of_orders", "payments.sync", "payments.without_number", "users.profiles",
    },
    "inventory": {"orders.inbox.accept"},
    "payments": {"orders.inbox.accept", "users.present_permissions"},
    "users": {"notifications.inbox.accept"},
    "notifications": {"orders.summaries"},
}  # fmt: skip


@pytest.fixture(scope="module")
def scenario_result(django_db_setup):
    """Run the scenario and repeat its calls: the final state, and the calls between processes meanwhile."""
    before = five_processes.current.calls() if five_processes.current else {}
    with repeat_calls_at_end():
        scenario.play()
    after = five_processes.current.calls() if five_processes.current else {}
    return load_canonical_state(), {context: set(made - before[context]) for context, made in after.items()}


@pytest.fixture
def state(scenario_result):
    return scenario_result[0]


def test_the_same_scenario_ends_in_the_same_state(state, tmp_path_factory):
    if os.environ.get("WRITE_STATE"):
        EXPECTED.write_text(json.dumps(hashes(state), indent=2) + "\n")
    text = Path(os.environ.get("STATE_TEXT") or tmp_path_factory.getbasetemp() / f"state-{TOPOLOGY}.txt")
    text.write_text("".join(f"{table} {line}\n" for table, lines in state.items() for line in lines))
    assert hashes(state) == json.loads(EXPECTED.read_text()), (
        f"the state is in {text}; compare it with STATE_TEXT of another topology"
    )


def test_calls_cross_processes_only_in_the_split_topology(scenario_result):
    assert scenario_result[1] == (CALLS if TOPOLOGY == "remote" else {})


def differing_tables(state: dict[str, list[str]]) -> set[str]:
    before, now = hashes(state), hashes(load_canonical_state())
    return {table for table in before | now if before.get(table) != now.get(table)}


def test_control_one_more_unit_of_stock_is_detected(state):
    assert differing_tables(state) == set()
    execute("inventory", "UPDATE inventory_stock SET on_hand = on_hand + 1 WHERE sku = 'MUG'")
    assert differing_tables(state) == {"inventory.inventory_stock", "all"}
    execute("inventory", "UPDATE inventory_stock SET on_hand = on_hand - 1 WHERE sku = 'MUG'")


def test_control_one_more_event_is_detected(state):
    order_id = uuid7()
    with transaction("orders"):
        publish(OrderConfirmed(order_id=order_id, number="MORE", user_id=None, total=Money(1, "EUR")), row=Revision())
    assert differing_tables(state) == {"orders.shop_outboxevent", "orders.shop_delivery", "all"}
    for table in ("shop_delivery", "shop_outboxevent"):
        execute("orders", f"DELETE FROM {table} WHERE stream = %s", [f"orders.order:{order_id}"])
    assert differing_tables(state) == set()
