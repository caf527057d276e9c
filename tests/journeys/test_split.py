"""Five processes with a database each are the same shop as one."""

import uuid

import pytest
from django.conf import settings

from shop import traffic
from shop.database import rows
from tests.inventory.stock import stocked
from tests.journeys.split import SplitShop
from tests.shopper import Shopper
from tests.threads import eventually

pytestmark = pytest.mark.usefixtures("verified")


@pytest.fixture(scope="module")
def shop():
    shop = SplitShop()
    shop.start()
    try:
        yield shop
    finally:
        status = shop.stop()
    assert status == 0


@pytest.fixture
def shopper(shop):
    return shop.shopper()


def available(sku: str) -> int:
    [(units,)] = rows("inventory", "SELECT on_hand - reserved FROM inventory_stock WHERE sku = %s", [sku])
    return units


def told(order_id: str) -> list[str]:
    """The letters about an order."""
    found = rows("notifications", "SELECT template FROM notifications_message WHERE subject_id = %s", [order_id])
    return sorted({template for (template,) in found})


def test_a_customer_buys_and_hears_of_it(shopper):
    email = shopper.register()
    sku = stocked(3)
    placed = shopper.order(sku, email=email)
    assert (placed.status, placed.body["status"]) == (201, "confirmed")
    assert available(sku) == 2
    eventually(lambda: told(placed.body["id"]) == ["order_confirmed"])
    eventually(lambda: shopper.look_at(placed.body)["payment"]["status"] == "captured")
    inbox = eventually(lambda: shopper.get("notifications").body["results"])
    assert placed.body["number"] in str(inbox)


@pytest.mark.parametrize(("token", "status"), [("tok_declined", 402), ("tok_requires_action", 202)])
def test_a_payment_ends_as_it_would_in_one_process(shopper, token, status):
    sku = stocked(1)
    placed = shopper.order(sku, token=token)
    assert placed.status == status
    if status == 202:
        assert shopper.post(f"orders/{placed.body['id']}/cancel", X_Order_Token=placed.body["token"]).status in (200, 202)
    eventually(lambda: available(sku) == 1)


def test_an_error_of_another_process_arrives_as_itself(shopper):
    refused = shopper.order("NO-SUCH-SKU")
    assert (refused.status, refused.body["code"], refused.body["facts"]["sku"]) == (422, "inventory.unknown_sku", "NO-SUCH-SKU")


def test_what_is_internal_is_not_at_the_public_address(shop):
    for context in settings.ALL_CONTEXTS:
        assert Shopper(shop.site(context)).post("/inventory/reserve", {}).status == 404


@pytest.mark.parametrize("gone", ["inventory", "payments", "users", "notifications"])
def test_a_context_that_is_killed_costs_time_but_no_order(shop, shopper, gone):
    sku, key = stocked(2), uuid.uuid4().hex
    shop.hosts[gone].kill()
    first = shopper.order(sku, key=key)
    assert first.status == {"inventory": 503, "payments": 202}.get(gone, 201), first.body
    shop.start(gone)
    placed = eventually(lambda: (again := shopper.order(sku, key=key)).status == 201 and again)
    eventually(lambda: told(placed.body["id"]) == ["order_confirmed"])
    assert available(sku) == 1


def test_each_process_writes_down_what_it_asked_others(shop):
    eventually(lambda: any(edge.name == "reserve" and edge.per_minute for edge in traffic.edges("orders")))
    eventually(lambda: any(edge.name == "summaries" for edge in traffic.edges("notifications")))
