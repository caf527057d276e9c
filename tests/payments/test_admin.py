"""The admin of payments: staff search, refund and synchronize; rows are read-only."""

import pytest

from contexts.payments.interface import PaymentMethod, payments
from contexts.payments.service import refunds
from shop.db.database import execute, fetch_rows
from shop.ids import readable_number, uuid7
from shop.money import Money
from tests.admin_forms import confirm
from tests.payments.operations import (
    authorize,
    authorize_and_capture,
    check_now,
    get_payment,
    move_money,
    published_events,
    read_column,
    read_provider_refunds,
)
from tests.staff_accounts import email_of, sign_in_to_admin

STAFF = email_of("*")
PAGES = ("payment", "refund", "ledgerentry")


@pytest.fixture
def admin_client():
    return sign_in_to_admin("*")


def run_action(client, payment, action):
    data = {"action": action, "_selected_action": [str(payment.id)]}
    return client.post("/admin/payments/payment/", data, follow=True)


@pytest.mark.parametrize("page", PAGES)
def test_lists_and_pages_are_shown_and_read_only(admin_client, page):
    payment = payments.cancel(order_id=authorize_and_capture().order_id)
    listed = admin_client.get(f"/admin/payments/{page}/", {"q": str(payment.order_id)})
    assert listed.status_code == 200
    [(key,)] = fetch_rows("payments", f"SELECT max(id::text) FROM payments_{page}")
    for path in (f"{key}/change/", f"{key}/history/"):
        assert admin_client.get(f"/admin/payments/{page}/{path}").status_code == 200
    assert admin_client.get(f"/admin/payments/{page}/add/").status_code == 403
    assert admin_client.post(f"/admin/payments/{page}/{key}/change/", {"status": "captured"}).status_code == 403
    assert admin_client.post(f"/admin/payments/{page}/{key}/delete/", {"post": "yes"}).status_code == 403


@pytest.mark.parametrize(
    "query", [{"status": "captured"}, {"provider": "sandbox"}, {"q": "sb_1"}, {"q": "a%_b"}, {"p": "2"}]
)
def test_payments_can_be_filtered_and_searched(admin_client, query):
    assert admin_client.get("/admin/payments/payment/", query, follow=True).status_code == 200


def test_payment_is_found_by_its_order_and_shows_no_token(admin_client):
    payment = authorize("tok_error")
    found = admin_client.get("/admin/payments/payment/", {"q": str(payment.order_id)}).content.decode()
    assert str(payment.id) in found
    assert "tok_error" not in admin_client.get(f"/admin/payments/payment/{payment.id}/change/").content.decode()


def test_staff_refund_in_full_and_the_audit_records_who(admin_client):
    payment = authorize_and_capture()
    page = run_action(admin_client, payment, "refund_in_full")
    assert "1 of 1 payment will be refunded." in page.content.decode() and "20.00" in page.content.decode()
    assert get_payment(payment.order_id).status == "captured"
    assert "refund started" in confirm(admin_client, page)
    assert get_payment(payment.order_id).status == "refunded"
    assert STAFF in admin_client.get(f"/admin/payments/payment/{payment.id}/history/").content.decode()


def test_a_refund_that_the_provider_refuses_shows_why_and_how_to_go_on(admin_client):
    payment = payments.capture(order_id=authorize("tok_refund_refused").order_id)
    page = confirm(admin_client, run_action(admin_client, payment, "refund_in_full"))
    assert "The provider refused the refund: nothing_to_refund" in page
    shown = show_payment(admin_client, payment)
    assert "The provider refused 20.00 EUR at" in shown and ": nothing_to_refund. Actions can refund it again." in shown
    payments.cancel(order_id=payment.order_id)
    listed = admin_client.get("/admin/payments/payment/", {"task": "open", "q": str(payment.order_id)}).content.decode()
    assert str(payment.id) in listed and "refund refused" in listed
    shown = show_payment(admin_client, payment)
    assert ": nothing_to_refund. Under Actions, retry it once the provider allows it, mark it as refunded" in shown
    move_money(payment, "allow")
    run_action(admin_client, payment, "retry")
    assert "The provider refused" not in show_payment(admin_client, payment)
    assert get_payment(payment.order_id).status == "refunded"


def show_payment(client, payment):
    return client.get(f"/admin/payments/payment/{payment.id}/change/").content.decode()


def test_an_impossible_refund_is_reported_and_not_made(admin_client):
    payment = authorize()
    page = run_action(admin_client, payment, "refund_in_full")
    assert "1 cannot be refunded and will not change." in page.content.decode()
    assert "cannot be refunded" in confirm(admin_client, page)
    assert read_provider_refunds(payment) == []


def test_a_full_refund_that_is_confirmed_twice_is_made_once(admin_client):
    payment = authorize_and_capture()
    page = run_action(admin_client, payment, "refund_in_full")
    confirm(admin_client, page)
    assert "already confirmed" in confirm(admin_client, page)
    assert len(read_provider_refunds(payment)) == 1


def test_a_refund_meanwhile_makes_the_confirmed_amount_too_large(admin_client):
    payment = authorize_and_capture()
    page = run_action(admin_client, payment, "refund_in_full")
    refunds.refund(payment_id=payment.id, amount=Money(500, "EUR"), reason="Broken.", actor="other", key=None)
    assert "can still be refunded" in confirm(admin_client, page)
    assert len(read_provider_refunds(payment)) == 1


def test_only_the_member_of_staff_who_selected_the_payments_confirms(admin_client):
    payment = authorize_and_capture()
    path = run_action(admin_client, payment, "refund_in_full").redirect_chain[-1][0]
    assert sign_in_to_admin("payments.view").post(path, {"post": "yes"}).status_code == 403
    assert get_payment(payment.order_id).status == "captured"


def test_a_payment_is_found_by_a_part_of_its_order_number_in_any_case(admin_client):
    number = readable_number()
    order_id = uuid7()
    payments.authorize(
        order_id=order_id,
        amount=Money(2000, "EUR"),
        method=PaymentMethod(provider="sandbox", token="tok_ok"),
        order_number=number,
    )
    for term in (number, f"#{number}", number.lower(), number[2:8], f"# {number.lower()}"):
        assert (
            f"/admin/orders/order/{order_id}/change/"
            in admin_client.get("/admin/payments/payment/", {"q": term}).content.decode()
        )
    for table in ("payment", "refund", "ledgerentry"):
        assert admin_client.get(f"/admin/payments/{table}/", {"q": f"{number}%"}).status_code == 200
        assert str(order_id) not in admin_client.get(f"/admin/payments/{table}/", {"q": f"{number}%"}).content.decode()


def test_a_payment_links_to_its_order_customer_and_refunds(admin_client):
    customer_id = uuid7()
    payment = payments.authorize(
        order_id=uuid7(),
        amount=Money(2000, "EUR"),
        method=PaymentMethod(provider="sandbox", token="tok_ok"),
        customer_id=customer_id,
    )
    page = admin_client.get(f"/admin/payments/payment/{payment.id}/change/").content.decode()
    for path in (f"orders/order/{payment.order_id}", f"users/user/{customer_id}"):
        assert f'href="/admin/{path}/change/"' in page
    assert f"/admin/payments/refund/?payment__id__exact={payment.id}" in page
    assert admin_client.get(f"/admin/payments/refund/?payment__id__exact={payment.id}").status_code == 200


def test_staff_trigger_a_reconciliation(admin_client):
    payment = authorize("tok_timeout_then_ok")
    assert "synchronized" in run_action(admin_client, payment, "sync_with_provider").content.decode()
    assert published_events(payment.order_id) == ["payment_authorized", "payment_resolved"]
    trail = fetch_rows("payments", "SELECT actor FROM shop_auditentry WHERE object_id = %s", [str(payment.id)])
    assert trail == [(STAFF,)]


def test_view_permission_does_not_allow_refunds():
    payment = authorize_and_capture()
    run_action(sign_in_to_admin("payments.view"), payment, "refund_in_full")
    assert get_payment(payment.order_id).status == "captured"


def test_the_change_page_does_not_overwrite_a_newer_value(admin_client):
    payment = authorize_and_capture()
    admin_client.get(f"/admin/payments/payment/{payment.id}/change/")
    execute("payments", "UPDATE payments_payment SET woken = true WHERE id = %s", [payment.id])
    admin_client.post(f"/admin/payments/payment/{payment.id}/change/", {})
    assert read_column(payment, "woken") is True


def test_a_refund_and_its_ledger_are_found_by_payment_order_or_number(admin_client):
    number, order_id = readable_number(), uuid7()
    method = PaymentMethod(provider="sandbox", token="tok_ok")
    payment = payments.authorize(order_id=order_id, amount=Money(2000, "EUR"), method=method, order_number=number)
    payments.capture(order_id=order_id)
    made = refunds.refund(payment_id=payment.id, amount=Money(500, "EUR"), reason="Broken.", actor="clerk", key=None)
    for term in (str(payment.id), str(order_id), number[2:8].lower()):
        assert str(made.id) in admin_client.get("/admin/payments/refund/", {"q": term}).content.decode()
        assert "5.00" in admin_client.get("/admin/payments/ledgerentry/", {"q": term}).content.decode()
    assert str(made.id) not in admin_client.get("/admin/payments/refund/", {"q": str(uuid7())}).content.decode()


def test_a_disputed_amount_is_not_offered_for_a_refund(admin_client):
    payment = authorize_and_capture()
    move_money(payment, "dispute", amount=500)
    check_now(payment)
    page = run_action(admin_client, payment, "refund_in_full")
    assert "15.00 EUR will be refunded." in page.content.decode()
    assert "refund started" in confirm(admin_client, page)
    assert read_provider_refunds(payment) == [1500]


def test_a_page_of_a_payment_has_money_only_with_its_currency_and_no_token(admin_client):
    payment = authorize_and_capture()
    execute(
        "payments",
        "UPDATE payments_payment SET owed = 1500, next_token = 'tok_secret_card' WHERE id = %s",
        [payment.id],
    )
    try:
        html = admin_client.get(f"/admin/payments/payment/{payment.id}/change/").content.decode()
    finally:
        execute("payments", "UPDATE payments_payment SET owed = 0, next_token = '' WHERE id = %s", [payment.id])
    assert "15.00 EUR" in html and ">1500<" not in html
    assert "tok_secret_card" not in html and "minor units" not in html
    assert html.count(f'href="/admin/orders/order/{payment.order_id}/change/"') == 2  # the field, and the link above
