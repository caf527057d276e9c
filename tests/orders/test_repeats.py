"""A repeated order is recognised when its key is stored: it gets the first response, whatever a new order would get now."""

import uuid

import pytest

from contexts.inventory.service import LocalInventory, catalogue_editing
from shop.calls import services
from shop.db.database import execute, fetch_rows
from shop.errors import Unavailable
from tests.concurrency import run_before_statement
from tests.factories import create_sku
from tests.shopper import InProcessShopper

pytestmark = pytest.mark.usefixtures("verified", "in_one_process")


def orders_of(email: str) -> list[tuple]:
    return fetch_rows("orders", "SELECT id::text FROM orders_order WHERE email = %s", [email])


class UnavailableInventory(LocalInventory):
    """Inventory that cannot be reached."""

    def quote(self, *, skus: tuple[str, ...]) -> tuple:
        raise Unavailable(what="inventory")

    def offers(self, *, skus: tuple[str, ...]) -> tuple:
        raise Unavailable(what="inventory")

    def reserve(self, **arguments) -> object:
        raise Unavailable(what="inventory")

    def release(self, **arguments) -> object:
        raise Unavailable(what="inventory")


@pytest.fixture
def order():
    """Return a function that orders the last unit of a SKU, always the same request."""
    shopper, sku, key, email = InProcessShopper(), create_sku(1), uuid.uuid4().hex, f"{uuid.uuid4().hex}@example.com"

    def send(**changes: object):
        return shopper.order(**{"items": [{"sku": sku, "quantity": 1}], "key": key, "email": email} | changes)

    send.sku, send.email = sku, email
    return send


@pytest.mark.parametrize("token", ["tok_ok", "tok_declined"])
def test_a_repeat_gets_its_response_though_the_sku_is_sold_out_or_off_sale_now(order, token):
    first = order(token=token)
    assert order(token=token).content == first.content
    catalogue_editing.update_variant(order.sku, actor="staff@example.com", is_active=False)
    assert order(token=token).content == first.content
    assert len(orders_of(order.email)) == 1


def test_a_repeat_gets_its_response_while_inventory_is_unavailable(order, settings):
    first = order()
    services.configure({"inventory": f"{__name__}.UnavailableInventory"}, "local")
    try:
        again, other = order(), order(key=uuid.uuid4().hex)
    finally:
        services.configure(settings.SERVICES, "local")
    assert again.content == first.content
    assert other.status == 503


def test_an_order_whose_cart_changed_while_it_was_placed_keeps_no_key(shopper, cart):
    sku, other, key = create_sku(5), create_sku(5), uuid.uuid4().hex
    shopper.send("PUT", f"carts/{cart}/items/{sku}", {"quantity": 1})

    def change_cart():
        return shopper.send("PUT", f"carts/{cart}/items/{other}", {"quantity": 2})

    with run_before_statement("inventory", "FROM inventory_variant", change_cart) as changed:
        refused = shopper.order(items=None, cart_id=cart, key=key)
    assert (changed[0].status, refused.status, refused.body.get("code")) == (200, 409, "orders.cart_changed")
    assert fetch_rows("orders", "SELECT 1 FROM shop_idempotencykey WHERE key = %s", [key]) == []
    assert len(shopper.order(items=None, cart_id=cart, key=key).body["lines"]) == 2


def test_another_body_is_refused_as_that_though_it_is_not_valid_now(order):
    order()
    answer = order(items=[{"sku": "NO-SUCH-SKU", "quantity": 1}])
    assert (answer.status, answer.body.get("code")) == (422, "shop.idempotency_key_reused")


@pytest.mark.parametrize(("token", "status"), [("tok_ok", 201), ("tok_requires_action", 202), ("tok_declined", 402)])
def test_the_second_click_on_an_order_of_items_gets_the_response_to_the_first(order, token, status):
    """The first request is responded to before the second one, which began earlier, stores its key."""
    with run_before_statement("inventory", "FROM inventory_variant", lambda: order(token=token)) as first:
        second = order(token=token)
    assert (first[0].status, second.status) == (status, status)
    assert status == 202 or second.content == first[0].content
    assert len(orders_of(order.email)) == 1


def test_the_first_outcome_of_a_key_stays_though_the_order_went_on_meanwhile(order):
    """Another worker, which had the lease of the order for a while, has stored the outcome that it was left with."""
    store = """UPDATE shop_idempotencykey SET status = 201, body = convert_to(json_build_object('id', resource)::text, 'UTF8')
               WHERE resource IN (SELECT id FROM orders_order WHERE email = %s)"""

    def store_outcome():
        assert execute("orders", store, [order.email]) == 1

    with run_before_statement("payments", "payments_payment", store_outcome):
        answer = order()
    assert (answer.status, sorted(answer.body)) == (201, ["id", "token"])
    assert order().content == answer.content
    [(status, step, is_leased)] = fetch_rows(
        "orders", "SELECT status, step, lease_until IS NOT NULL FROM orders_order WHERE email = %s", [order.email]
    )
    assert (status, step, is_leased) == ("confirmed", "capturing", False)


def test_a_repeat_while_the_first_request_is_in_progress_is_asked_to_wait(order):
    answers = []
    with run_before_statement("inventory", "UPDATE inventory_stock", lambda: answers.append(order())):
        first = order()
    assert first.status == 201
    assert (answers[0].status, answers[0].body.get("code")) == (409, "shop.idempotency_key_in_flight")
    assert len(orders_of(order.email)) == 1
