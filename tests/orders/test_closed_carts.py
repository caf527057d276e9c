"""A cart and its order: a live order closes the cart, and however many tabs order it, there is one order."""

import threading
import uuid
from collections.abc import Callable

import pytest

from contexts.inventory.service import LocalInventory
from shop.calls import services
from shop.db.database import execute, fetch_rows, transaction
from tests.concurrency import eventually, repeat_concurrently, run_before_statement, run_concurrently
from tests.engine_driver import run_checkout_timers, run_payment_timers, run_until_idle
from tests.factories import create_sku
from tests.orders.queries import status_and_step_of, stock_of
from tests.shopper import InProcessShopper

pytestmark = pytest.mark.usefixtures("verified")

TABS = 12


def fill_cart(shopper: InProcessShopper, *skus: str) -> str:
    """Create a cart with one unit of each SKU."""
    cart = shopper.post("carts").body["id"]
    for sku in skus:
        assert shopper.send("PUT", f"carts/{cart}/items/{sku}", {"quantity": 1}).status == 200
    return cart


def orders_of_cart(cart: str) -> list[tuple]:
    return fetch_rows("orders", "SELECT id::text, status FROM orders_order WHERE cart_id = %s ORDER BY id", [cart])


def kinds_of_mail(order_id: str) -> list[str]:
    sql = "SELECT template FROM notifications_message WHERE order_id = %s AND channel = 'email' ORDER BY template"
    return [template for (template,) in fetch_rows("notifications", sql, [order_id])]


def assert_closed_by(answer, order_id: str) -> None:
    assert (answer.status, answer.body.get("code")) == (409, "orders.cart_closed")
    assert answer.body["facts"]["order_id"] == order_id


def test_a_cart_with_an_order_takes_no_changes_and_names_the_order(shopper):
    sku, other = create_sku(5), create_sku(5)
    cart = fill_cart(shopper, sku)
    order = shopper.order(items=None, cart_id=cart).body
    assert_closed_by(shopper.send("PUT", f"carts/{cart}/items/{sku}", {"quantity": 2}), order["id"])
    assert_closed_by(shopper.send("PUT", f"carts/{cart}/items/{other}", {"quantity": 1}), order["id"])
    assert_closed_by(shopper.send("DELETE", f"carts/{cart}/items/{sku}"), order["id"])
    assert_closed_by(shopper.order(items=None, cart_id=cart), order["id"])
    shown = shopper.get(f"carts/{cart}").body
    assert (shown["closed"], shown["order_id"], shown["order_number"]) == (True, order["id"], None)
    assert [(item["sku"], item["quantity"]) for item in shown["items"]] == [(sku, 1)]
    assert fill_cart(shopper, sku) != cart, "a new cart starts"


def test_an_open_cart_names_no_order(shopper):
    shown = shopper.get(f"carts/{fill_cart(shopper, create_sku(1))}").body
    assert (shown["closed"], shown["order_id"], shown["order_number"]) == (False, None, None)


def test_only_the_customer_of_the_order_gets_its_number(shopper):
    customer, stranger = InProcessShopper(), InProcessShopper()
    customer.register()
    stranger.register()
    cart = fill_cart(shopper, create_sku(5))
    order = customer.order(items=None, cart_id=cart, email=None).body
    numbers = []
    for caller in (customer, stranger, shopper):
        change = caller.send("DELETE", f"carts/{cart}/items/X")
        again = caller.order(items=None, cart_id=cart, email="guest@example.com")
        shown = caller.get(f"carts/{cart}").body
        assert {change.body["facts"]["order_id"], again.body["facts"]["order_id"], shown["order_id"]} == {order["id"]}
        numbers.append(
            {change.body["facts"]["order_number"], again.body["facts"]["order_number"], shown["order_number"]}
        )
    assert numbers == [{order["number"]}, {None}, {None}]


def test_a_second_try_while_the_first_order_is_pending_is_not_out_of_stock(shopper):
    sku = create_sku(1)
    cart = fill_cart(shopper, sku)
    pending = shopper.order(items=None, cart_id=cart, token="tok_requires_action")
    assert pending.status == 202
    assert_closed_by(shopper.order(items=None, cart_id=cart), pending.body["id"])
    assert_closed_by(shopper.send("PUT", f"carts/{cart}/items/{sku}", {"quantity": 1}), pending.body["id"])
    run_until_idle()
    assert orders_of_cart(cart) == [(pending.body["id"], "pending")]
    assert kinds_of_mail(pending.body["id"]) == []


@pytest.mark.parametrize("ending", ["declined", "cancelled", "expired"])
def test_an_order_that_ended_opens_its_cart_again(shopper, settings, ending):
    sku = create_sku(1)
    cart = fill_cart(shopper, sku)
    if ending == "declined":
        assert shopper.order(items=None, cart_id=cart, token="tok_declined").status == 402
    else:
        settings.RESERVATION_HOLD_SECONDS = 0.1 if ending == "expired" else 900
        order = shopper.order(items=None, cart_id=cart, token="tok_requires_action").body
        if ending == "cancelled":
            shopper.post(f"orders/{order['id']}/cancel", X_Order_Token=order["token"])
        eventually(
            lambda: status_and_step_of(order["id"])[1] == "closed",
            run_checkout_timers,
            run_payment_timers,
            run_until_idle,
        )
        settings.RESERVATION_HOLD_SECONDS = 900
    assert shopper.get(f"carts/{cart}").body["closed"] is False
    assert shopper.send("PUT", f"carts/{cart}/items/{sku}", {"quantity": 1}).status == 200
    assert shopper.order(items=None, cart_id=cart).status == 201


@pytest.mark.parametrize("units", [1, 50])
def test_many_tabs_make_one_order_and_no_rejected_ones(shopper, units):
    cart = fill_cart(shopper, create_sku(units))
    answers = repeat_concurrently(TABS, lambda _: shopper.order(items=None, cart_id=cart))
    [order_id] = [answer.body["id"] for answer in answers if answer.status == 201]
    for answer in answers:
        if answer.status != 201:
            assert_closed_by(answer, order_id)
    run_until_idle()
    assert orders_of_cart(cart) == [(order_id, "confirmed")]
    assert kinds_of_mail(order_id) == ["order_confirmed"]


@pytest.mark.usefixtures("in_one_process")
@pytest.mark.parametrize(("token", "status"), [("tok_ok", 201), ("tok_requires_action", 202)])
def test_a_double_click_of_which_the_first_orders_the_cart_gets_its_response_twice(shopper, token, status):
    """The second request begins before the first one stores the key, and reads the cart after that."""
    cart, key = fill_cart(shopper, create_sku(5)), uuid.uuid4().hex

    def click():
        return shopper.order(items=None, cart_id=cart, key=key, token=token)

    with run_before_statement("orders", "FROM orders_cart cart", click) as first:
        second = click()
    assert (first[0].status, second.status) == (status, status)
    assert second.body["id"] == first[0].body["id"]
    assert status == 202 or second.content == first[0].content
    assert len(orders_of_cart(cart)) == 1


class OrderingInventory(LocalInventory):
    """Inventory that lets another tab order the cart before it answers the first quote."""

    order_in_other_tab: Callable[[], object] | None = None

    def quote(self, *, skus: tuple[str, ...]) -> tuple:
        order, OrderingInventory.order_in_other_tab = OrderingInventory.order_in_other_tab, None
        if order:
            order()
        return super().quote(skus=skus)

    def offers(self, *, skus: tuple[str, ...]) -> tuple:
        return super().offers(skus=skus)

    def reserve(self, **arguments) -> object:
        return super().reserve(**arguments)

    def release(self, **arguments) -> object:
        return super().release(**arguments)


def test_a_tab_that_read_the_cart_before_it_was_ordered_makes_no_rejected_order(shopper, settings):
    cart = fill_cart(shopper, create_sku(1))
    first: list = []
    OrderingInventory.order_in_other_tab = lambda: first.append(shopper.order(items=None, cart_id=cart))
    services.configure({"inventory": f"{__name__}.OrderingInventory"}, settings.TRANSPORT)
    try:
        second = shopper.order(items=None, cart_id=cart)
    finally:
        services.configure(settings.SERVICES, settings.TRANSPORT)
    assert first[0].status == 201
    assert_closed_by(second, first[0].body["id"])
    assert orders_of_cart(cart) == [(first[0].body["id"], "confirmed")]


@pytest.mark.parametrize("attempt", range(4))
def test_a_change_concurrent_with_the_order_is_in_it_or_refused(shopper, attempt):
    sku, other = create_sku(50), create_sku(50)
    cart = fill_cart(shopper, sku)
    ordered, changed = run_concurrently(
        lambda: shopper.order(items=None, cart_id=cart),
        lambda: shopper.send("PUT", f"carts/{cart}/items/{other}", {"quantity": 3}),
    )
    if ordered.status == 409:
        assert (ordered.body["code"], changed.status) == ("orders.cart_changed", 200)
        return
    bought = {line["sku"]: line["quantity"] for line in ordered.body["lines"]}
    in_cart = {item["sku"]: item["quantity"] for item in shopper.get(f"carts/{cart}").body["items"]}
    assert bought == in_cart, "what was accepted into the cart is what was ordered"
    assert changed.status == (200 if other in bought else 409)


def test_a_change_that_waits_for_an_order_of_the_cart_is_refused(shopper):
    """The order is committed while the change waits for the row of the cart."""
    sku = create_sku(5)
    cart = fill_cart(shopper, sku)
    order = shopper.order(items=None, cart_id=cart).body
    execute("orders", "UPDATE orders_order SET cart_id = NULL WHERE id = %s", [order["id"]])
    is_locked = threading.Event()

    def order_cart() -> None:
        with transaction("orders"):
            execute("orders", "UPDATE orders_cart SET version = version + 1 WHERE id = %s", [cart])
            execute("orders", "UPDATE orders_order SET cart_id = %s WHERE id = %s", [cart, order["id"]])
            is_locked.set()
            eventually(lambda: fetch_rows("orders", "SELECT 1 FROM pg_locks WHERE NOT granted"), timeout=3)

    def change_cart():
        is_locked.wait(10)
        return shopper.send("DELETE", f"carts/{cart}/items/{sku}")

    _, answer = run_concurrently(order_cart, change_cart)
    assert_closed_by(answer, order["id"])
    assert len(shopper.get(f"carts/{cart}").body["items"]) == 1


def test_stock_that_the_last_order_of_the_cart_still_holds_is_not_out_of_stock(shopper):
    sku = create_sku(1)
    cart = fill_cart(shopper, sku)
    order = shopper.order(items=None, cart_id=cart, token="tok_requires_action").body
    set_state = "UPDATE orders_order SET status = %s, step = %s WHERE id = %s"
    execute("orders", set_state, ["rejected", "undo_money", order["id"]])
    answer = shopper.order(items=None, cart_id=cart)
    execute("orders", set_state, ["pending", "authorizing", order["id"]])
    assert (answer.status, answer.body.get("code")) == (409, "orders.cart_order_being_undone")
    assert (answer.body["facts"]["order_id"], answer.headers["retry-after"]) == (order["id"], "1")
    assert len(orders_of_cart(cart)) == 1
    assert stock_of(sku) == (1, 1)
