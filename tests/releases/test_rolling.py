"""A rolling deploy: processes of yesterday's release and of today's side by side, each asking and hearing from the other."""

import uuid

import pytest
from django.conf import settings

from shop.database import changed, rows
from tests.inventory.stock import reserved, stocked
from tests.releases.later import release
from tests.releases.processes import Balancer, Host, say
from tests.threads import eventually

pytestmark = pytest.mark.usefixtures("verified")
OLD = settings.BASE_DIR


@pytest.fixture(scope="module")
def new(tmp_path_factory):
    return release(tmp_path_factory.mktemp("release"))


@pytest.fixture(scope="module")
def inventories(new):
    """Yesterday's inventory, which handles what it hears, and today's, which leaves that to others."""
    both = [Host(OLD, "embedded"), Host(new, "none")]
    try:
        for one in both:
            one.await_ready()
        yield both
    finally:
        for one in both:
            one.stop()


@pytest.fixture
def address(inventories):
    """Where both are."""
    balancer = Balancer(*inventories)
    yield balancer.url
    balancer.close()


@pytest.fixture
def yesterdays(inventories):
    """The address of yesterday's alone."""
    return f"http://127.0.0.1:{inventories[0].port}"


def ids(count):
    return [str(uuid.uuid4()) for _ in range(count)]


RESERVE = """
first = [reserve(order) for order in given["orders"]]
again = [reserve(order) for order in given["orders"]]
print(json.dumps([one.status for one in first + again]))
"""


@pytest.mark.parametrize("caller", ["old", "new"])
def test_a_caller_of_either_release_is_answered_by_both_and_a_repeat_by_the_other_is_the_same(caller, new, address):
    sku, orders = stocked(9), ids(5)  # of five calls and their repeats, each repeat goes to the other release
    tree = new if caller == "new" else OLD
    assert say(tree, RESERVE, address, sku=sku, orders=orders) == ["held"] * 10
    assert rows("inventory", "SELECT reserved FROM inventory_stock WHERE sku = %s", [sku]) == [(5,)]


MORE = """
print(json.dumps([reserve(order, wrapping="gold").wrapping for order in given["orders"]]))
"""


def test_what_only_the_later_release_understands_is_not_lost_on_the_older_one(new, address):
    assert say(new, MORE, address, sku=stocked(9), orders=ids(4)) == ["gold"] * 4


UNDERSTOOD_BY_NOBODY = """
said = []
for ask in (lambda: reserve(given["order"], wrapping="gold"), lambda: inventory.units(skus=(given["sku"],))):
    try:
        ask()
    except Unavailable:
        said.append("unavailable")
print(json.dumps(said))
"""


def test_where_nobody_understands_it_nothing_was_done(new, yesterdays):
    sku, order = stocked(1), str(uuid.uuid4())
    assert say(new, UNDERSTOOD_BY_NOBODY, yesterdays, sku=sku, order=order) == ["unavailable"] * 2
    assert rows("inventory", "SELECT * FROM inventory_reservation WHERE order_id = %s", [order]) == []


UNITS = """
print(json.dumps([inventory.units(skus=(given["sku"],)) for _ in "1234"]))
"""


def test_a_new_method_is_answered_by_whoever_has_it(new, address):
    assert say(new, UNITS, address, sku=stocked(3)) == [3] * 4


REFUSED = """
said = []
for order, quantity in given["wanted"]:
    try:
        reserve(order, quantity)
    except OutOfStock as error:
        said.append(error.facts)
    except Unavailable:
        said.append("unavailable")
print(json.dumps(said))
"""


def test_an_error_that_says_more_arrives_and_one_that_is_new_may_mean_anything(new, inventories):
    sku = stocked(2)
    today = f"http://127.0.0.1:{inventories[1].port}"
    said = say(OLD, REFUSED, today, sku=sku, wanted=list(zip(ids(2), (3, 60), strict=True)))
    assert said == [{"sku": sku, "available": 2}, "unavailable"]


CONFIRM = """
with transaction("orders"):
    for order in given["orders"]:
        told = {"paid": Money(1999, "EUR"), "channel": "the app"} if given["new"] else {"total": Money(1999, "EUR")}
        publish(OrderConfirmed(order_id=UUID(order), number="N", user_id=None, **told), sequence=1)
print(json.dumps(relay.deliver_due("orders")))
"""
CARRY = """
changed("orders", "UPDATE shop_delivery SET due_at = now() WHERE acknowledged_at IS NULL")
print(json.dumps(relay.deliver_due("orders")))
"""


def confirmed(tree, url, new):
    """Orders whose stock is held, told to be confirmed by a release."""
    orders = [str(reserved((stocked(1), 1)).order_id) for _ in range(4)]
    say(tree, CONFIRM, url, orders=orders, new=new)
    return orders


def waiting(orders):
    """Why inventory has not acknowledged these."""
    streams = [f"orders.order:{order}" for order in orders]
    return [error for (error,) in rows("orders", """SELECT error FROM shop_delivery
        WHERE subscriber = 'inventory' AND acknowledged_at IS NULL AND stream = ANY(%s)""", [streams])]  # fmt: skip


def received(orders, which):
    streams = [f"orders.order:{order}" for order in orders]
    return rows("inventory", f"SELECT {which} FROM shop_inboxrow WHERE stream = ANY(%s)", [streams])


def told(orders):
    """What the later release's handler wrote down of each."""
    found = rows("inventory", "SELECT object_id, action FROM shop_auditentry WHERE object_id = ANY(%s)", [orders])
    return sorted(found)


@pytest.fixture
def nobody_else_hears():
    """These facts have no order behind them, and letters about them nobody to write them."""
    yield
    for table in ("shop_delivery", "shop_outboxevent"):
        changed("orders", f"DELETE FROM {table}")


@pytest.mark.usefixtures("nobody_else_hears")
def test_a_new_version_waits_for_who_understands_it_and_is_handled_once(new, inventories, address, yesterdays):
    older, newer = confirmed(OLD, yesterdays, new=False), confirmed(new, yesterdays, new=True)
    assert waiting(older) == []
    assert waiting(newer) == ["inventory knows orders.order_confirmed up to version 1, not 2"] * 4
    assert received(newer, "1") == []

    eventually(lambda: not waiting(newer) or not say(OLD, CARRY, address), patience=30)  # today's accepts them
    left_alone = "count(*) = 4 AND bool_and(attempt > 0 AND failures = 0 AND parked_at IS NULL AND handled_at IS NULL)"
    eventually(lambda: received(newer, left_alone) == [(True,)])  # by yesterday's engine, which has found them
    assert received(older, "handled_at IS NOT NULL") == [(True,)] * 4

    inventories[0].stop()
    latest = confirmed(OLD, f"http://127.0.0.1:{inventories[1].port}", new=False)
    every = [*older, *newer, *latest]
    engine = Host(new, "embedded")
    try:
        hurry = "UPDATE shop_inboxrow SET due_at = now() WHERE handled_at IS NULL AND lease_until IS NULL"
        done = "bool_and(handled_at IS NOT NULL)"
        eventually(lambda: received(every, done) == [(True,)], lambda: changed("inventory", hurry), patience=30)
    finally:
        engine.stop()
    assert told(every) == sorted([(order, "the app") for order in newer] + [(order, "the web") for order in latest])
    sold = rows("inventory", "SELECT status FROM inventory_reservation WHERE order_id = ANY(%s::uuid[])", [every])
    assert sold == [("committed",)] * 12
