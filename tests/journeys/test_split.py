"""Five processes with a database each are the same shop as one."""

import uuid
from contextlib import closing
from pathlib import Path

import pytest
from django.conf import settings

from shop.calls import call_metrics
from shop.db.database import fetch_rows
from tests.concurrency import eventually
from tests.factories import create_sku
from tests.journeys.split import SplitShop, await_closed_circuits
from tests.shopper import Shopper

pytestmark = pytest.mark.usefixtures("verified")


@pytest.fixture(scope="module")
def shop():
    with closing(SplitShop(CREDENTIAL_KEY="only-for-this-test-" + "x" * 40)) as shop:
        shop.start()
        yield shop
        assert shop.stop() == 0


@pytest.fixture
def shopper(shop):
    return shop.shopper()


def available(sku: str) -> int:
    [(units,)] = fetch_rows("inventory", "SELECT on_hand - reserved FROM inventory_stock WHERE sku = %s", [sku])
    return units


def is_notified(order_id: str) -> list[str]:
    """Return the kinds of messages about an order."""
    found = fetch_rows("notifications", "SELECT template FROM notifications_message WHERE subject_id = %s", [order_id])
    return sorted({template for (template,) in found})


def test_a_customer_buys_and_is_notified(shopper):
    email = shopper.register()
    sku = create_sku(3)
    placed = shopper.order(sku, email=email)
    assert (placed.status, placed.body["status"]) == (201, "confirmed")
    assert available(sku) == 2
    eventually(lambda: is_notified(placed.body["id"]) == ["order_confirmed"])
    eventually(lambda: shopper.get_order(placed.body)["payment"]["status"] == "captured")
    inbox = eventually(lambda: shopper.get("notifications").body["results"])
    assert placed.body["number"] in str(inbox)


def test_a_process_gets_the_secrets_of_its_context_only(shop):
    for context, host in shop.hosts.items():
        environment = Path(f"/proc/{host.process.pid}/environ").read_bytes().decode().split("\0")
        names = {entry.partition("=")[0] for entry in environment}
        secrets = {f"{other.upper()}_SECRETS" for other in settings.ALL_CONTEXTS}
        assert names & secrets == {f"{context.upper()}_SECRETS"}
        assert "CREDENTIAL_KEY" not in names
        assert ("JWT_SIGNING_KEY" in names) == (context == "users")


@pytest.mark.parametrize(("token", "status"), [("tok_declined", 402), ("tok_requires_action", 202)])
def test_a_payment_ends_as_it_would_in_one_process(shopper, token, status):
    sku = create_sku(1)
    placed = shopper.order(sku, token=token)
    assert placed.status == status
    if status == 202:
        assert shopper.post(f"orders/{placed.body['id']}/cancel", X_Order_Token=placed.body["token"]).status in (
            200,
            202,
        )
    eventually(lambda: available(sku) == 1)


def test_an_error_of_another_process_keeps_its_status_code_and_facts(shopper):
    refused = shopper.order("NO-SUCH-SKU")
    assert (refused.status, refused.body["code"], refused.body["facts"]["sku"]) == (
        422,
        "inventory.unknown_sku",
        "NO-SUCH-SKU",
    )


def test_internal_methods_are_not_served_publicly(shop):
    for context in settings.ALL_CONTEXTS:
        assert Shopper(shop.site(context)).post("/inventory/reserve", {}).status == 404


@pytest.mark.parametrize("killed", sorted(set(settings.ALL_CONTEXTS) - {"orders"}))
def test_a_killed_context_delays_orders_but_loses_none(shop, shopper, killed):
    sku, key = create_sku(2), uuid.uuid4().hex
    await_closed_circuits(shopper)
    shop.hosts[killed].kill()
    first = shopper.order(sku, key=key)
    assert first.status == {"inventory": 503, "payments": 202}.get(killed, 201), first.body
    shop.start(killed)
    placed = eventually(lambda: (again := shopper.order(sku, key=key)).status == 201 and again)
    eventually(lambda: is_notified(placed.body["id"]) == ["order_confirmed"])
    assert available(sku) == 1


def test_each_process_records_its_calls_to_others(shop):
    eventually(lambda: any(edge.name == "reserve" and edge.per_minute for edge in call_metrics.list_edges("orders")))
    eventually(lambda: any(edge.name == "summaries" for edge in call_metrics.list_edges("notifications")))
