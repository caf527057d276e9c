"""HTTP of payments: staff refund and look, the sandbox's customer decides, and nonsense is turned away."""

import json
from uuid import uuid4

import pytest

from contexts.payments.interface import payments
from tests.browser import Client
from tests.payments.desk import (
    Unsteady,
    announced,
    authorize,
    captured,
    intent,
    provider_refunds,
    reconciled,
    seen,
    token,
)
from tests.threads import crowd

REASON = {"reason": "Broken cup"}


def staff(*permissions):
    return Client(headers={"Authorization": f"Bearer {token(*permissions)}"})


@pytest.fixture
def clerk():
    return staff("payments.view", "payments.refund")


def ask_refund(client, payment, body=REASON, key=None):
    return client.post(
        f"/api/v1/payments/{payment.id}/refunds",
        body if isinstance(body, str) else json.dumps(body),
        content_type="application/json",
        headers={"Idempotency-Key": key or uuid4().hex},
    )


def five_euros(amount=500, currency="EUR"):
    return {"reason": "Broken cup", "amount": {"amount": amount, "currency": currency}}


def test_staff_see_a_payment_with_its_refunds(clerk):
    payment = captured()
    refund = ask_refund(clerk, payment, five_euros()).json()
    shown = clerk.get(f"/api/v1/payments/{payment.id}").json()
    assert (shown["status"], shown["captured"]["amount"], shown["refunded"]["amount"]) == ("captured", 2000, 500)
    assert shown["refunds"] == [refund]
    assert "token" not in shown


def test_refund_in_full_is_201(clerk):
    payment = captured()
    answer = ask_refund(clerk, payment)
    assert (answer.status_code, answer.json()["status"], answer.json()["amount"]["amount"]) == (201, "done", 2000)
    assert seen(payment.order_id).status == "refunded"


def test_refund_without_an_answer_is_202_and_a_repeat_tells_the_end(use, clerk):
    payment, key = captured(provider=use(Unsteady(refund=1))), uuid4().hex
    assert ask_refund(clerk, payment, key=key).status_code == 202
    reconciled(payment.order_id, "refunded")
    assert ask_refund(clerk, payment, key=key).status_code == 201


def test_repeated_key_gets_the_same_answer_to_the_byte(clerk):
    payment, key = captured(), uuid4().hex
    answers = [ask_refund(clerk, payment, five_euros(), key) for _ in range(3)]
    assert {(answer.status_code, answer.content) for answer in answers} == {(201, answers[0].content)}
    assert provider_refunds(payment) == [500]


def test_repeated_key_with_another_body_is_422_and_without_a_key_400(clerk):
    payment, key = captured(), uuid4().hex
    ask_refund(clerk, payment, five_euros(), key)
    assert ask_refund(clerk, payment, five_euros(501), key).json()["code"] == "shop.idempotency_key_reused"
    bare = clerk.post(f"/api/v1/payments/{payment.id}/refunds", json.dumps(REASON), content_type="application/json")
    assert (bare.status_code, bare.json()["code"]) == (400, "shop.idempotency_key_missing")


def test_fifty_posts_with_one_key_refund_once(clerk):
    payment, key = captured(), uuid4().hex
    answers = crowd(50, lambda _: ask_refund(clerk, payment, five_euros(), key).status_code)
    assert set(answers) <= {201, 202}
    assert provider_refunds(payment) == [500]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (five_euros(2001), 409, "payments.refund_too_large"),
        (five_euros(currency="USD"), 422, "payments.wrong_currency"),
        (five_euros(0), 400, "shop.bad_body"),
        (five_euros(-5), 400, "shop.bad_body"),
        (five_euros(2**63), 400, "shop.bad_body"),
        (five_euros(1.5), 400, "shop.bad_body"),
        (five_euros("500"), 400, "shop.bad_body"),
        (five_euros(currency="euros"), 400, "shop.bad_body"),
        ({}, 400, "shop.bad_body"),
        ({"reason": ""}, 400, "shop.bad_body"),
        ({"reason": "x" * 201}, 400, "shop.bad_body"),
        ({"reason": "a\0b"}, 400, "shop.bad_body"),
        ({"reason": "fine", "status": "done"}, 400, "shop.bad_body"),
        ("[" * 10_000, 400, "shop.bad_body"),
        ("not json", 400, "shop.bad_body"),
    ],
)
def test_bad_refunds_are_turned_away_and_nothing_moves(clerk, body, status, code):
    payment = captured()
    answer = ask_refund(clerk, payment, body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert provider_refunds(payment) == []


def test_who_may_what():
    payment = captured()
    for client, status in ((Client(), 401), (staff(), 404), (staff("payments.view"), 200)):
        assert client.get(f"/api/v1/payments/{payment.id}").status_code == status
    for client, status in ((Client(), 401), (staff(), 403), (staff("payments.view"), 403)):
        assert ask_refund(client, payment).status_code == status


def test_unknown_payments_are_404(clerk):
    for path in (f"/api/v1/payments/{uuid4()}", "/api/v1/payments/no-id", "/api/v1/payments/sandbox/sb_no/approve"):
        assert clerk.get(path).status_code == 404


def decide(payment, word):
    return Client().post(f"/api/v1/payments/sandbox/sb_{payment.id.hex}/{word}")


def test_customer_approves_and_the_payment_is_resolved_at_once():
    payment = authorize("tok_requires_action")
    answer = decide(payment, "approve")
    assert (answer.status_code, answer.json()["status"]) == (200, "authorized")
    assert announced(payment.order_id) == ["payment_authorized", "payment_resolved"]
    assert intent(payment)["charges"] == 1


def test_customer_declines_and_the_payment_is_resolved_at_once():
    payment = authorize("tok_requires_action")
    assert decide(payment, "decline").json()["status"] == "declined"
    assert announced(payment.order_id) == ["payment_declined", "payment_resolved"]
    assert seen(payment.order_id).reason == "declined_by_customer"


def test_customer_who_follows_the_action_url_approves():
    payment = authorize("tok_requires_action")
    path = payment.action.url.partition("/api/")[2]
    assert Client().get(f"/api/{path}").json()["status"] == "authorized"
    assert seen(payment.order_id).action is None


@pytest.mark.parametrize("state", ["approved", "authorized", "cancelled"])
def test_only_a_payment_that_waits_for_its_customer_can_be_decided(state):
    payment = authorize("tok_ok" if state == "authorized" else "tok_requires_action")
    if state == "approved":
        decide(payment, "approve")
    if state == "cancelled":
        payments.cancel(order_id=payment.order_id)
    for word in ("approve", "decline"):
        assert decide(payment, word).json()["code"] == "payments.no_action_needed"


def test_approve_and_decline_at_once_have_one_outcome():
    payment = authorize("tok_requires_action")
    answers = crowd(10, lambda n: decide(payment, ("approve", "decline")[n % 2]).status_code)
    assert sorted(answers) == [200] + [409] * 9
    end = reconciled(payment.order_id, "authorized", "declined").status
    assert announced(payment.order_id) == [f"payment_{end}", "payment_resolved"]


def test_approve_and_cancel_at_once_leave_no_money_set_aside():
    for _ in range(10):
        payment = authorize("tok_requires_action")

        def work(number, payment=payment):
            return decide(payment, "approve") if number else payments.cancel(order_id=payment.order_id)

        crowd(2, work)
        reconciled(payment.order_id, "voided")
        assert intent(payment)["status"] == "cancelled"
