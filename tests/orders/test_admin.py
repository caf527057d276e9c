"""Orders in the admin: looked up by staff, cancelled through the checkout, and audited."""

import pytest

from shop.audit import trail
from tests.inventory.staff import admin_client
from tests.inventory.stock import stocked
from tests.orders.books import payment_of, stock_of
from tests.shopper import InProcess

pytestmark = pytest.mark.usefixtures("verified")

SAVE = b'name="_save"'


@pytest.fixture
def order():
    return InProcess().order(stocked(1)).body


def change(order: dict) -> str:
    return f"/admin/orders/order/{order['id']}/change/"


def test_staff_find_an_order_by_its_number_and_read_its_story(order):
    staff = admin_client("orders.view")
    found = staff.get("/admin/orders/order/", {"q": order["number"]})
    assert order["number"] in found.content.decode()
    page = staff.get(change(order)).content.decode()
    assert "The order is confirmed." in page
    assert order["lines"][0]["sku"] in page


def test_an_order_is_not_edited_by_hand(order):
    staff = admin_client("orders.change")
    assert SAVE not in staff.get(change(order)).content
    staff.post(change(order), {"status": "shipped", "total": "1", "number": "MINE"})
    assert InProcess().look_at(order)["status"] == "confirmed"
    assert staff.post(f"/admin/orders/order/{order['id']}/delete/", {"post": "yes"}).status_code == 403
    assert staff.get("/admin/orders/order/add/").status_code == 403


def test_what_can_be_written_has_a_button_to_write_it():
    sku = stocked(1)
    assert SAVE in admin_client("inventory.change").get(f"/admin/inventory/stock/{sku}/change/").content


def test_staff_cancel_an_order_and_the_trail_says_who(order):
    staff = admin_client("orders.change")
    action = {"action": "request_cancel", "_selected_action": [order["id"]]}
    assert "cancel requested" in staff.post("/admin/orders/order/", action, follow=True).content.decode()
    assert InProcess().look_at(order)["status"] == "cancelled"
    assert payment_of(order["id"]) == "refunded"
    assert stock_of(order["lines"][0]["sku"]) == (1, 0)
    [entry] = trail("orders", "order", order["id"])
    assert (entry.action, bool(entry.actor)) == ("cancel", True)
    assert "cancel" in staff.get(f"/admin/orders/order/{order['id']}/history/").content.decode()


def test_who_may_only_look_cannot_cancel(order):
    staff = admin_client("orders.view")
    action = {"action": "request_cancel", "_selected_action": [order["id"]]}
    staff.post("/admin/orders/order/", action)
    assert InProcess().look_at(order)["status"] == "confirmed"


def test_staff_of_another_context_see_no_orders(order):
    assert admin_client("inventory.view").get(change(order)).status_code == 403
