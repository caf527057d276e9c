"""A rolling deploy: processes of the old and of the new release run side by side, and call and send events to each other."""

import uuid
from contextlib import ExitStack, closing

import pytest
from django.conf import settings

from shop.db.database import execute, fetch_rows
from tests.concurrency import eventually
from tests.factories import create_sku, reserve_units
from tests.releases.next_release import create_next_release
from tests.releases.processes import Balancer, Host, run_script

pytestmark = pytest.mark.usefixtures("verified")
OLD_TREE = settings.BASE_DIR


@pytest.fixture(scope="module")
def new_tree(tmp_path_factory):
    return create_next_release(tmp_path_factory.mktemp("release"))


@pytest.fixture(scope="module")
def inventory_hosts(new_tree):
    """Start inventory of the old release, with an engine, and of the new one, without."""
    with ExitStack() as stack:
        hosts = []
        for tree, engine in ((OLD_TREE, "embedded"), (new_tree, "none")):
            hosts.append(Host(tree, engine))
            stack.callback(hosts[-1].stop)
        for host in hosts:
            host.await_ready()
        yield hosts


@pytest.fixture
def balanced_url(inventory_hosts):
    """Return the address of a load balancer in front of both."""
    with closing(Balancer(*inventory_hosts)) as balancer:
        yield balancer.url


@pytest.fixture
def old_url(inventory_hosts):
    """Return the address of the old release."""
    return f"http://127.0.0.1:{inventory_hosts[0].port}"


def ids(count):
    return [str(uuid.uuid4()) for _ in range(count)]


RESERVE = """
first = [reserve(order) for order in given["orders"]]
again = [reserve(order) for order in given["orders"]]
print(json.dumps([one.status for one in first + again]))
"""


@pytest.mark.parametrize("caller", ["old", "new"])
def test_both_releases_respond_alike_to_either_caller_and_to_repeats(caller, new_tree, balanced_url):
    sku, orders = create_sku(9), ids(5)  # an odd number: each repeat goes to the other release
    tree = new_tree if caller == "new" else OLD_TREE
    assert run_script(tree, RESERVE, balanced_url, sku=sku, orders=orders) == ["held"] * 10
    assert fetch_rows("inventory", "SELECT reserved FROM inventory_stock WHERE sku = %s", [sku]) == [(5,)]


RESERVE_WITH_NEW_ARGUMENT = """
print(json.dumps([reserve(order, wrapping="gold").wrapping for order in given["orders"]]))
"""


def test_a_new_argument_is_never_dropped_by_the_old_release(new_tree, balanced_url):
    assert (
        run_script(new_tree, RESERVE_WITH_NEW_ARGUMENT, balanced_url, sku=create_sku(9), orders=ids(4)) == ["gold"] * 4
    )


NEW_CALLS = """
results = []
for call in (lambda: reserve(given["order"], wrapping="gold"), lambda: inventory.units(skus=(given["sku"],))):
    try:
        call()
    except Unavailable:
        results.append("unavailable")
print(json.dumps(results))
"""


def test_a_call_that_no_process_understands_changes_nothing(new_tree, old_url):
    sku, order = create_sku(1), str(uuid.uuid4())
    assert run_script(new_tree, NEW_CALLS, old_url, sku=sku, order=order) == ["unavailable"] * 2
    assert fetch_rows("inventory", "SELECT * FROM inventory_reservation WHERE order_id = %s", [order]) == []


UNITS = """
print(json.dumps([inventory.units(skus=(given["sku"],)) for _ in "1234"]))
"""


def test_a_new_method_is_answered_by_the_new_release(new_tree, balanced_url):
    assert run_script(new_tree, UNITS, balanced_url, sku=create_sku(3)) == [3] * 4


RESERVE_REFUSED = """
results = []
for order, quantity in given["quantities"]:
    try:
        reserve(order, quantity)
    except OutOfStock as error:
        results.append(error.facts)
    except Unavailable:
        results.append("unavailable")
print(json.dumps(results))
"""


def test_an_extended_error_arrives_and_an_unknown_error_is_unavailable(new_tree, inventory_hosts):
    sku = create_sku(2)
    new_url = f"http://127.0.0.1:{inventory_hosts[1].port}"
    results = run_script(
        OLD_TREE, RESERVE_REFUSED, new_url, sku=sku, quantities=list(zip(ids(2), (3, 60), strict=True))
    )
    assert results == [{"sku": sku, "available": 2}, "unavailable"]


PUBLISH_CONFIRMED = """
with transaction("orders"):
    for order in given["orders"]:
        facts = {"paid": Money(1999, "EUR"), "channel": "the app"} if given["new"] else {"total": Money(1999, "EUR")}
        publish(OrderConfirmed(order_id=UUID(order), number="N", user_id=None, **facts), row=Revision())
print(json.dumps(relay.deliver_due("orders")))
"""
DELIVER_DUE = """
execute("orders", "UPDATE shop_delivery SET due_at = now() WHERE acknowledged_at IS NULL")
print(json.dumps(relay.deliver_due("orders")))
"""


def publish_confirmed_orders(tree, url, *, new):
    """Reserve stock for four orders, and publish from one release that they are confirmed."""
    orders = [str(reserve_units((create_sku(1), 1)).order_id) for _ in range(4)]
    run_script(tree, PUBLISH_CONFIRMED, url, orders=orders, new=new)
    return orders


def delivery_errors(orders):
    """Return the errors of the deliveries to inventory that are not acknowledged."""
    streams = [f"orders.order:{order}" for order in orders]
    return [error for (error,) in fetch_rows("orders", """SELECT error FROM shop_delivery
        WHERE subscriber = 'inventory' AND acknowledged_at IS NULL AND stream = ANY(%s)""", [streams])]  # fmt: skip


def inbox_rows(orders, which):
    streams = [f"orders.order:{order}" for order in orders]
    return fetch_rows("inventory", f"SELECT {which} FROM shop_inboxrow WHERE stream = ANY(%s)", [streams])


def audit_entries(orders):
    """Return what the handler of the new release recorded for these orders."""
    found = fetch_rows("inventory", "SELECT object_id, action FROM shop_auditentry WHERE object_id = ANY(%s)", [orders])
    return sorted(found)


@pytest.fixture
def discarded_events():
    """Delete the events at the end: there are no orders behind them, so no message can be written."""
    yield
    for table in ("shop_delivery", "shop_outboxevent"):
        execute("orders", f"DELETE FROM {table}")


@pytest.mark.usefixtures("discarded_events")
def test_a_new_event_version_waits_for_the_new_release_and_is_handled_once(
    new_tree, inventory_hosts, balanced_url, old_url
):
    older, newer = (
        publish_confirmed_orders(OLD_TREE, old_url, new=False),
        publish_confirmed_orders(new_tree, old_url, new=True),
    )
    assert delivery_errors(older) == []
    assert delivery_errors(newer) == ["inventory knows orders.order_confirmed up to version 1, not 2"] * 4
    assert inbox_rows(newer, "1") == []

    # The load balancer sends each second attempt to the new release, which accepts the events.
    eventually(lambda: not delivery_errors(newer), lambda: run_script(OLD_TREE, DELIVER_DUE, balanced_url), timeout=180)
    postponed = "count(*) = 4 AND bool_and(attempt > 0 AND failures = 0 AND parked_at IS NULL AND handled_at IS NULL)"
    eventually(lambda: inbox_rows(newer, postponed) == [(True,)])  # the engine of the old release has claimed them
    assert inbox_rows(older, "handled_at IS NOT NULL") == [(True,)] * 4

    inventory_hosts[0].stop()
    latest = publish_confirmed_orders(OLD_TREE, f"http://127.0.0.1:{inventory_hosts[1].port}", new=False)
    every = [*older, *newer, *latest]
    engine = Host(new_tree, "embedded")
    try:
        make_due = "UPDATE shop_inboxrow SET due_at = now() WHERE handled_at IS NULL AND lease_until IS NULL"
        done = "bool_and(handled_at IS NOT NULL)"
        eventually(lambda: inbox_rows(every, done) == [(True,)], lambda: execute("inventory", make_due))
    finally:
        engine.stop()
    assert audit_entries(every) == sorted(
        [(order, "the app") for order in newer] + [(order, "the web") for order in latest]
    )
    sold = fetch_rows("inventory", "SELECT status FROM inventory_reservation WHERE order_id = ANY(%s::uuid[])", [every])
    assert sold == [("committed",)] * 12
