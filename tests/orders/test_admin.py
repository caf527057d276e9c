"""Orders in the admin: staff find them and cancel them through the checkout, with an audit entry."""

import pytest

from shop.audit import list_object_history
from tests.factories import create_sku
from tests.inventory.staff_clients import sign_in_to_admin
from tests.orders.queries import payment_of, stock_of
from tests.shopper import InProcessShopper

pytestmark = pytest.mark.usefixtures("verified")

SAVE = b'name="_save"'


@pytest.fixture
def order():
    return InProcessShopper().order(create_sku(1)).body


def change(order: dict) -> str:
    return f"/admin/orders/order/{order['id']}/change/"


def test_staff_find_an_order_by_its_number_and_read_its_timeline(order):
    staff = sign_in_to_admin("orders.view")
    found = staff.get("/admin/orders/order/", {"q": order["number"]})
    assert order["number"] in found.content.decode()
    page = staff.get(change(order)).content.decode()
    assert "The order is confirmed." in page
    assert order["lines"][0]["sku"] in page


def test_an_order_is_read_only(order):
    staff = sign_in_to_admin("orders.change")
    assert SAVE not in staff.get(change(order)).content
    staff.post(change(order), {"status": "shipped", "total": "1", "number": "MINE"})
    assert InProcessShopper().get_order(order)["status"] == "confirmed"
    assert staff.post(f"/admin/orders/order/{order['id']}/delete/", {"post": "yes"}).status_code == 403
    assert staff.get("/admin/orders/order/add/").status_code == 403


def test_staff_with_change_permission_see_a_save_button():
    sku = create_sku(1)
    assert SAVE in sign_in_to_admin("inventory.change").get(f"/admin/inventory/stock/{sku}/change/").content


def test_staff_cancel_an_order_and_the_audit_records_who(order):
    staff = sign_in_to_admin("orders.change")
    action = {"action": "request_cancel", "_selected_action": [order["id"]]}
    assert "cancel requested" in staff.post("/admin/orders/order/", action, follow=True).content.decode()
    assert InProcessShopper().get_order(order)["status"] == "cancelled"
    assert payment_of(order["id"]) == "refunded"
    assert stock_of(order["lines"][0]["sku"]) == (1, 0)
    [entry] = list_object_history("orders", "order", order["id"])
    assert (entry.action, bool(entry.actor)) == ("cancel", True)
    assert "cancel" in staff.get(f"/admin/orders/order/{order['id']}/history/").content.decode()


def test_view_permission_does_not_allow_cancelling(order):
    staff = sign_in_to_admin("orders.view")
    action = {"action": "request_cancel", "_selected_action": [order["id"]]}
    staff.post("/admin/orders/order/", action)
    assert InProcessShopper().get_order(order)["status"] == "confirmed"


def test_staff_of_another_context_see_no_orders(order):
    assert sign_in_to_admin("inventory.view").get(change(order)).status_code == 403
