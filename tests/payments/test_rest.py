"""REST API of payments: staff read and refund, the sandbox's customer decides, and invalid requests are refused."""

import html
import json
import re
from urllib.parse import quote
from uuid import uuid4

import pytest
from django.conf import settings

from contexts.payments.interface import payments
from shop.db.database import execute
from shop.db.retention import list_model_rules
from shop.models import IdempotencyKey
from shop.purging import purge_now
from tests.concurrency import repeat_concurrently
from tests.http_client import Client
from tests.payments.fake_providers import SilentSandbox
from tests.payments.operations import (
    authorize,
    authorize_and_capture,
    get_payment,
    published_events,
    read_provider_refunds,
    read_sandbox_intent,
    reconcile_to_status,
)
from tests.staff_accounts import sign_access_token

REASON = {"reason": "Broken cup"}


def staff(*permissions):
    return Client(headers={"Authorization": f"Bearer {sign_access_token(*permissions)}"})


@pytest.fixture
def staff_client():
    return staff("payments.view", "payments.refund")


def ask_refund(client, payment, body=REASON, key=None):
    return client.post(
        f"/api/v1/payments/{payment.id}/refunds",
        body if isinstance(body, str) else json.dumps(body),
        content_type="application/json",
        headers={"Idempotency-Key": key or uuid4().hex},
    )


def refund_body(amount=500, currency="EUR"):
    return {"reason": "Broken cup", "amount": {"amount": amount, "currency": currency}}


def test_staff_read_a_payment_with_its_refunds(staff_client):
    payment = authorize_and_capture()
    refund = ask_refund(staff_client, payment, refund_body()).json()
    shown = staff_client.get(f"/api/v1/payments/{payment.id}").json()
    assert (shown["status"], shown["captured"]["amount"], shown["refunded"]["amount"]) == ("captured", 2000, 500)
    assert shown["refunds"] == [refund]
    assert "token" not in shown


def test_refund_in_full_is_201(staff_client):
    payment = authorize_and_capture()
    answer = ask_refund(staff_client, payment)
    assert (answer.status_code, answer.json()["status"], answer.json()["amount"]["amount"]) == (201, "done", 2000)
    assert get_payment(payment.order_id).status == "refunded"


def test_a_refund_without_response_is_202_and_a_repeat_returns_the_outcome(register_provider, staff_client):
    payment, key = authorize_and_capture(provider=register_provider(SilentSandbox(refund=1))), uuid4().hex
    assert ask_refund(staff_client, payment, key=key).status_code == 202
    reconcile_to_status(payment.order_id, "refunded")
    assert ask_refund(staff_client, payment, key=key).status_code == 201


def test_repeated_key_gets_the_same_answer_to_the_byte(staff_client):
    payment, key = authorize_and_capture(), uuid4().hex
    answers = [ask_refund(staff_client, payment, refund_body(), key) for _ in range(3)]
    assert {(answer.status_code, answer.content) for answer in answers} == {(201, answers[0].content)}
    assert read_provider_refunds(payment) == [500]


def test_a_refund_repeated_after_a_month_is_the_same_refund(staff_client):
    payment, key = authorize_and_capture(), uuid4().hex
    first = ask_refund(staff_client, payment, refund_body(), key)
    execute("payments", "UPDATE payments_refund SET at = at - interval '31 days' WHERE payment_id = %s", [payment.id])
    execute("payments", "UPDATE shop_idempotencykey SET created_at = created_at - interval '31 days'")
    purge_now("payments", list_model_rules(IdempotencyKey))
    again = ask_refund(staff_client, payment, refund_body(), key)
    assert (again.status_code, again.json()["id"]) == (first.status_code, first.json()["id"])
    assert read_provider_refunds(payment) == [500]
    assert ask_refund(staff_client, payment, refund_body(501), key).json()["code"] == "shop.idempotency_key_reused"


def test_repeated_key_with_another_body_is_422_and_without_a_key_400(staff_client):
    payment, key = authorize_and_capture(), uuid4().hex
    ask_refund(staff_client, payment, refund_body(), key)
    assert ask_refund(staff_client, payment, refund_body(501), key).json()["code"] == "shop.idempotency_key_reused"
    bare = staff_client.post(
        f"/api/v1/payments/{payment.id}/refunds", json.dumps(REASON), content_type="application/json"
    )
    assert (bare.status_code, bare.json()["code"]) == (400, "shop.idempotency_key_missing")


def test_fifty_posts_with_one_key_refund_once(staff_client):
    payment, key = authorize_and_capture(), uuid4().hex
    answers = repeat_concurrently(50, lambda _: ask_refund(staff_client, payment, refund_body(), key).status_code)
    assert set(answers) <= {201, 202}
    assert read_provider_refunds(payment) == [500]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (refund_body(2001), 409, "payments.refund_too_large"),
        (refund_body(currency="USD"), 409, "payments.wrong_currency"),
        (refund_body(0), 400, "shop.bad_body"),
        (refund_body(-5), 400, "shop.bad_body"),
        (refund_body(2**63), 400, "shop.bad_body"),
        (refund_body(1.5), 400, "shop.bad_body"),
        (refund_body("500"), 400, "shop.bad_body"),
        (refund_body(currency="euros"), 400, "shop.bad_body"),
        ({}, 400, "shop.bad_body"),
        ({"reason": ""}, 400, "shop.bad_body"),
        ({"reason": "x" * 201}, 400, "shop.bad_body"),
        ({"reason": "a\0b"}, 400, "shop.bad_body"),
        ({"reason": "fine", "status": "done"}, 400, "shop.bad_body"),
        ("[" * 10_000, 400, "shop.bad_body"),
        ("not json", 400, "shop.bad_body"),
    ],
)
def test_invalid_refunds_are_refused_and_change_nothing(staff_client, body, status, code):
    payment = authorize_and_capture()
    answer = ask_refund(staff_client, payment, body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert read_provider_refunds(payment) == []


def test_each_caller_gets_the_permitted_status():
    payment = authorize_and_capture()
    for client, status in ((Client(), 401), (staff(), 404), (staff("payments.view"), 200)):
        assert client.get(f"/api/v1/payments/{payment.id}").status_code == status
    for client, status in ((Client(), 401), (staff(), 403), (staff("payments.view"), 403)):
        assert ask_refund(client, payment).status_code == status


def test_unknown_payments_are_404(staff_client):
    for path in (f"/api/v1/payments/{uuid4()}", "/api/v1/payments/no-id", "/api/v1/payments/sandbox/sb_no/approve"):
        assert staff_client.get(path).status_code == 404


def decide(payment, decision):
    return Client().post(f"/api/v1/payments/sandbox/sb_{payment.id.hex}/{decision}")


def test_customer_approves_and_the_payment_is_resolved_at_once():
    payment = authorize("tok_requires_action")
    answer = decide(payment, "approve")
    assert (answer.status_code, answer.json()["status"]) == (200, "authorized")
    assert published_events(payment.order_id) == ["payment_authorized", "payment_resolved"]
    assert read_sandbox_intent(payment)["charges"] == 1


def test_customer_declines_and_the_payment_is_resolved_at_once():
    payment = authorize("tok_requires_action")
    assert decide(payment, "decline").json()["status"] == "declined"
    assert published_events(payment.order_id) == ["payment_declined", "payment_resolved"]
    assert get_payment(payment.order_id).reason == "declined_by_customer"


FORM = "application/x-www-form-urlencoded"


def page_of(payment):
    return "/api/" + payment.action.url.partition("/api/")[2]


@pytest.mark.parametrize("decision", ["approve", "decline"])
def test_the_page_of_the_sandbox_is_html_and_changes_nothing(decision):
    payment = authorize("tok_requires_action")
    answer = Client().get(page_of(payment).replace("approve", decision))
    assert (answer.status_code, answer.headers["Content-Type"].partition(";")[0]) == (200, "text/html")
    page = answer.content.decode()
    assert page.count('<form method="post"') == 2
    assert "20.00 EUR" in page
    assert read_sandbox_intent(payment)["status"] == "requires_action"
    assert get_payment(payment.order_id).status == "requires_action"


@pytest.mark.parametrize(("decision", "status"), [("approve", "authorized"), ("decline", "declined")])
def test_a_form_of_the_page_sends_the_customer_back_to_the_shop(decision, status):
    payment, back = authorize("tok_requires_action"), f"{settings.SITE_URL}/thanks?order=1&x=%C3%A9"
    page = Client().get(page_of(payment), {"return_url": back}).content.decode()
    [action] = [action for action in re.findall(r'action="([^"]+)"', page) if action.startswith(decision)]
    path = page_of(payment).rpartition("/")[0] + "/" + html.unescape(action)
    answer = Client().post(path, "decision=x", content_type=FORM)
    assert (answer.status_code, answer.headers["Location"]) == (303, back)
    assert get_payment(payment.order_id).status == status


def test_a_form_without_a_return_url_ends_on_a_page():
    payment = authorize("tok_requires_action")
    answer = Client().post(page_of(payment), headers={"Accept": "text/html,*/*"})
    assert (answer.status_code, b"authorized" in answer.content) == (200, True)


STRANGERS = (
    "https://evil.example/", "javascript:alert(1)", "//evil.example", "https://[", "/x", "ftp://localhost/",
    r"http://evil.example\@localhost/",
)  # fmt: skip


@pytest.mark.parametrize("url", STRANGERS)
def test_a_return_url_of_a_stranger_is_refused_and_decides_nothing(url):
    payment = authorize("tok_requires_action")
    path = f"{page_of(payment)}?return_url={quote(url, safe='')}"
    for answer in (Client().get(path), Client().post(path, "decision=x", content_type=FORM)):
        assert answer.status_code == 400
        assert answer.json()["code"] == "payments.return_url_not_allowed"
        assert [fault["parameter"] for fault in answer.json()["errors"]] == ["return_url"]
    assert get_payment(payment.order_id).status == "requires_action"


@pytest.mark.parametrize("state", ["approved", "authorized", "cancelled"])
def test_only_a_payment_that_waits_for_its_customer_can_be_decided(state):
    payment = authorize("tok_ok" if state == "authorized" else "tok_requires_action")
    if state == "approved":
        decide(payment, "approve")
    if state == "cancelled":
        payments.cancel(order_id=payment.order_id)
    for decision in ("approve", "decline"):
        assert decide(payment, decision).json()["code"] == "payments.no_action_needed"


def test_concurrent_approve_and_decline_have_one_outcome():
    payment = authorize("tok_requires_action")
    answers = repeat_concurrently(10, lambda n: decide(payment, ("approve", "decline")[n % 2]).status_code)
    assert sorted(answers) == [200] + [409] * 9
    end = reconcile_to_status(payment.order_id, "authorized", "declined").status
    assert published_events(payment.order_id) == [f"payment_{end}", "payment_resolved"]


def test_concurrent_approve_and_cancel_leave_no_authorized_money():
    for _ in range(10):
        payment = authorize("tok_requires_action")

        def work(number, payment=payment):
            return decide(payment, "approve") if number else payments.cancel(order_id=payment.order_id)

        repeat_concurrently(2, work)
        reconcile_to_status(payment.order_id, "voided")
        assert read_sandbox_intent(payment)["status"] == "cancelled"
