"""Orders in the admin: staff find them and cancel them through the checkout, with an audit entry."""

import pytest

from contexts.orders.service.search import FIND_WORD_SQL
from shop.audit import list_object_history
from shop.db.database import execute, fetch_rows, transaction
from tests.admin_forms import confirm, run_action
from tests.engine_driver import run_until_idle
from tests.factories import create_sku
from tests.orders.queries import payment_of, status_and_step_of, stock_of
from tests.shopper import InProcessShopper
from tests.staff_accounts import email_of, sign_in_to_admin

pytestmark = pytest.mark.usefixtures("verified")

SAVE, LIST = b'name="_save"', "/admin/orders/order/"


@pytest.fixture
def order():
    return InProcessShopper().buy(create_sku(1))


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
    staff = sign_in_to_admin("orders.change", "payments.refund")
    page = run_action(staff, LIST, "request_cancel", order["id"])
    assert "1 of 1 order will be cancelled." in page.content.decode() and "19.99 EUR" in page.content.decode()
    assert InProcessShopper().get_order(order)["status"] == "confirmed"
    assert "cancel requested" in confirm(staff, page)
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


def test_the_right_to_change_orders_does_not_give_captured_money_back(order):
    staff = sign_in_to_admin("orders.view", "orders.change", "payments.view")
    html = confirm(staff, run_action(staff, LIST, "request_cancel", order["id"]))
    assert "0 of 1: cancel requested. 1 failed" in html and "payments.refund" in html
    run_until_idle()
    assert InProcessShopper().get_order(order)["status"] == "confirmed"
    assert payment_of(order["id"]) == "captured"
    assert list_object_history("orders", "order", order["id"]) == []


def test_staff_without_the_right_to_refund_cancel_an_order_that_is_not_paid():
    order = InProcessShopper().order(create_sku(1), token="tok_requires_action").body
    assert order["status"] == "pending"
    staff = sign_in_to_admin("orders.change")
    assert "cancel requested" in confirm(staff, run_action(staff, LIST, "request_cancel", order["id"]))
    run_until_idle()
    assert status_and_step_of(order["id"]) == ("cancelled", "closed")


def test_staff_of_another_context_see_no_orders(order):
    assert sign_in_to_admin("inventory.view").get(change(order)).status_code == 403


def find(staff, term: str, order: dict) -> bool:
    """Return whether the list shows this order for a search term."""
    response = staff.get(LIST, {"q": term})
    assert response.status_code == 200
    return change(order) in response.content.decode()


def test_staff_find_an_order_by_parts_in_any_case(order):
    staff = sign_in_to_admin("orders.view")
    number, sku = order["number"], order["lines"][0]["sku"]
    [(email, name)] = fetch_rows(
        "orders", "SELECT email, shipping_address->>'name' FROM orders_order WHERE id = %s", [order["id"]]
    )
    terms = [
        number,
        f"#{number}",
        number.lower(),
        number[3:9],
        email[2:-3].upper(),
        sku.lower(),
        sku[3:12],
        order["id"],
    ]
    assert {term: find(staff, term, order) for term in terms} == dict.fromkeys(terms, True)
    assert find(staff, f"{name.split()[-1].upper()} {name.split()[0]} #{number[:4]}", order)
    for term in (f"{number}x", f"{number[:3]}%{number[4:]}", f"{number} unknown-sku", "_" * 10):
        assert not find(staff, term, order), term


def test_the_search_of_orders_uses_its_indexes():
    with transaction("orders"):
        for other in ("seqscan", "indexscan"):  # cheaper with the few rows of a test
            execute("orders", f"SET LOCAL enable_{other} = off")
        plan = str(fetch_rows("orders", f"EXPLAIN {FIND_WORD_SQL}", ["%ada%", "%ada%"]))
    assert "order_text_search" in plan and "order_line_sku_search" in plan


def test_an_order_links_to_its_payment_reservation_messages_and_customer():
    shopper = InProcessShopper()
    order = shopper.order(create_sku(1)).body
    page = sign_in_to_admin("orders.view").get(change(order)).content.decode()
    staff = sign_in_to_admin("*")
    for path in (
        f"/admin/payments/payment/?q={order['id']}",
        f"/admin/inventory/reservation/{order['id']}/change/",
        f"/admin/notifications/message/?q={order['id']}",
        f"/admin/payments/payment/{order['payment']['id']}/change/",
    ):
        assert f'href="{path}"' in page
        assert staff.get(path).status_code == 200


def test_the_page_of_an_order_is_titled_by_its_number(order):
    html = sign_in_to_admin("*").get(change(order)).content.decode()
    assert f"<h1>Order {order['number']}</h1>" in html and f"<title>Order {order['number']} | Satsuma</title>" in html
    assert "Change order" not in html


def test_an_order_that_was_cancelled_meanwhile_is_reported_and_not_cancelled_twice(order):
    staff = sign_in_to_admin("orders.change", "payments.refund")
    page = run_action(staff, LIST, "request_cancel", order["id"])
    assert "cancel requested" in confirm(staff, run_action(staff, LIST, "request_cancel", order["id"]))
    confirm(staff, page)
    assert [entry.action for entry in list_object_history("orders", "order", order["id"])] == ["cancel"]


def test_an_order_that_was_cancelled_before_it_was_selected_is_reported_as_failed(order):
    staff = sign_in_to_admin("orders.change", "payments.refund")
    confirm(staff, run_action(staff, LIST, "request_cancel", order["id"]))
    page = run_action(staff, LIST, "request_cancel", order["id"])
    html = confirm(staff, page)
    assert "0 of 1: cancel requested. 1 failed" in html and "can no longer be cancelled" in html


def test_a_bulk_cancel_reports_each_failure_in_one_message(order):
    rejected = InProcessShopper().order(create_sku(0)).body
    [(rejected_id, number)] = fetch_rows(
        "orders", "SELECT id, number FROM orders_order WHERE id = %s", [rejected["facts"]["order_id"]]
    )
    staff = sign_in_to_admin("orders.change", "payments.refund")
    page = run_action(staff, LIST, "request_cancel", order["id"], rejected_id)
    assert "1 of 2 orders will be cancelled." in page.content.decode()
    html = confirm(staff, page)
    assert "1 of 2: cancel requested. 1 failed" in html and f"{number}: " in html
    assert html.count('class="warning"') == 1


def test_the_audit_records_who_resumed_a_checkout(order):
    page = run_action(sign_in_to_admin("orders.change"), LIST, "resume_checkout", order["id"])
    assert "checkout resumed" in page.content.decode()
    entries = [(entry.action, entry.actor) for entry in list_object_history("orders", "order", order["id"])]
    assert entries == [("resume checkout", email_of("orders.change"))]


def test_the_page_of_a_rejected_order_explains_the_refusal_in_words():
    rejected = InProcessShopper().order(create_sku(1), token="tok_declined").body
    html = sign_in_to_admin("*").get(change({"id": rejected["facts"]["order_id"]})).content.decode()
    assert "The payment was declined: card_declined." in html
    assert "payments.declined" not in html


def test_the_question_before_a_cancel_shows_the_payment_in_words():
    order = InProcessShopper().order(create_sku(1), token="tok_requires_action").body
    html = run_action(sign_in_to_admin("*"), LIST, "request_cancel", order["id"]).content.decode()
    assert "<td>pending</td>" in html and "requires_action" not in html


def test_lists_are_titled_by_what_they_show_and_the_index_offers_only_changes_that_can_be_saved():
    staff = sign_in_to_admin("*")
    assert "<h1>Orders</h1>" in staff.get(LIST).content.decode()
    index = staff.get("/admin/orders/").content.decode()
    assert index.count('class="viewlink"') == 2 and 'class="changelink"' not in index
    assert 'class="changelink"' in staff.get("/admin/inventory/").content.decode()


def test_the_customer_of_a_cart_is_shown_once_and_as_a_link():
    shopper = InProcessShopper()
    shopper.register()
    cart = shopper.post("carts").body
    html = sign_in_to_admin("*").get(f"/admin/orders/cart/{cart['id']}/change/").content.decode()
    assert html.count("<label>User:</label>") == 1 and html.count("/admin/users/user/") == 1


def test_the_filter_of_orders_names_the_status_of_their_payments_in_words():
    order = InProcessShopper().order(create_sku(1), token="tok_requires_action").body
    staff = sign_in_to_admin("*")
    assert ">requires action</a>" in staff.get(LIST).content.decode()
    assert change(order) in staff.get(LIST, {"payment_status": "requires_action"}).content.decode()
    assert change(order) not in staff.get(LIST, {"payment_status": "captured"}).content.decode()


def test_the_page_of_a_cart_lists_its_items():
    shopper, sku = InProcessShopper(), create_sku(5)
    cart = shopper.post("carts").body
    shopper.send("PUT", f"carts/{cart['id']}/items/{sku}", {"quantity": 2})
    assert f"2 × {sku}" in sign_in_to_admin("*").get(f"/admin/orders/cart/{cart['id']}/change/").content.decode()
