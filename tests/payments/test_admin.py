"""The admin of payments: staff find, look and refund; nobody edits."""

import pytest
from django.conf import settings

from contexts.payments.interface import payments
from shop.database import changed, rows
from tests.browser import Client
from tests.payments.desk import announced, authorize, captured, column, provider_refunds, seen, token

PAGES = ("payment", "refund", "ledgerentry")


def clerk(*permissions):
    client = Client()
    session = client.session
    session["staff_token"] = token(*permissions, kind="staff")
    session.save()
    client.cookies[settings.SESSION_COOKIE_NAME] = session.session_key
    return client


@pytest.fixture
def boss():
    return clerk("*")


def act(client, payment, action):
    data = {"action": action, "_selected_action": [str(payment.id)]}
    return client.post("/admin/payments/payment/", data, follow=True)


@pytest.mark.parametrize("page", PAGES)
def test_lists_and_pages_are_there_and_read_only(boss, page):
    payment = payments.cancel(order_id=captured().order_id)
    listed = boss.get(f"/admin/payments/{page}/", {"q": str(payment.order_id)})
    assert listed.status_code == 200
    [(key,)] = rows("payments", f"SELECT max(id::text) FROM payments_{page}")
    for path in (f"{key}/change/", f"{key}/history/"):
        assert boss.get(f"/admin/payments/{page}/{path}").status_code == 200
    assert boss.get(f"/admin/payments/{page}/add/").status_code == 403
    assert boss.post(f"/admin/payments/{page}/{key}/change/", {"status": "captured"}).status_code == 403
    assert boss.post(f"/admin/payments/{page}/{key}/delete/", {"post": "yes"}).status_code == 403


@pytest.mark.parametrize("query", [{"status": "captured"}, {"provider": "sandbox"}, {"q": "sb_1"}, {"q": "a\0b"}, {"p": "2"}])
def test_payments_can_be_filtered_and_searched(boss, query):
    assert boss.get("/admin/payments/payment/", query, follow=True).status_code == 200


def test_payment_is_found_by_its_order_and_shows_no_token(boss):
    payment = authorize("tok_error")
    found = boss.get("/admin/payments/payment/", {"q": str(payment.order_id)}).content.decode()
    assert str(payment.id) in found
    assert "tok_error" not in boss.get(f"/admin/payments/payment/{payment.id}/change/").content.decode()


def test_staff_refund_in_full_and_the_audit_says_who(boss):
    payment = captured()
    assert "refund begun" in act(boss, payment, "refund_in_full").content.decode()
    assert seen(payment.order_id).status == "refunded"
    assert "clerk@satsuma.example" in boss.get(f"/admin/payments/payment/{payment.id}/history/").content.decode()


def test_refund_that_is_not_possible_is_said_and_not_done(boss):
    payment = authorize()
    assert "cannot be refunded" in act(boss, payment, "refund_in_full").content.decode()
    assert provider_refunds(payment) == []


def test_staff_have_the_provider_looked_at(boss):
    payment = authorize("tok_timeout_then_ok")
    assert "looked at" in act(boss, payment, "look_at_the_provider").content.decode()
    assert announced(payment.order_id) == ["payment_authorized", "payment_resolved"]
    trail = rows("payments", "SELECT actor FROM shop_auditentry WHERE object_id = %s", [str(payment.id)])
    assert trail == [("clerk@satsuma.example",)]


def test_who_may_only_view_does_not_refund():
    payment = captured()
    act(clerk("payments.view"), payment, "refund_in_full")
    assert seen(payment.order_id).status == "captured"


def test_change_page_cannot_write_back_what_it_showed_before(boss):
    payment = captured()
    boss.get(f"/admin/payments/payment/{payment.id}/change/")
    changed("payments", "UPDATE payments_payment SET woken = true WHERE id = %s", [payment.id])
    boss.post(f"/admin/payments/payment/{payment.id}/change/", {})
    assert column(payment, "woken") is True
