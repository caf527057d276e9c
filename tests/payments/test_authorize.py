"""Authorize: what each answer of the provider leads to, and that a repeat never charges again."""

import pytest

from contexts.payments.interface import PaymentMethod, payments
from shop.errors import Closed
from shop.ids import uuid7
from shop.money import Money
from tests.payments.desk import (
    EUR_20,
    Beside,
    Held,
    announced,
    authorize,
    column,
    intent,
    reconcile_until,
    reconciled,
    seen,
)
from tests.threads import crowd

pytestmark = pytest.mark.usefixtures("verified")

OK = PaymentMethod(provider="sandbox", token="tok_ok")


def test_money_is_set_aside_and_announced():
    payment = authorize()
    assert (payment.status, payment.amount, payment.refunded) == ("authorized", EUR_20, Money(0, "EUR"))
    assert announced(payment.order_id) == ["payment_authorized"]
    assert intent(payment)["charges"] == 1


def test_token_is_forgotten_once_the_provider_has_answered():
    assert [column(authorize(token), "token") for token in ("tok_ok", "tok_declined", "tok_requires_action")] == [""] * 3


def test_token_is_kept_while_the_outcome_is_unknown():
    assert column(authorize("tok_error"), "token") == "tok_error"


@pytest.mark.parametrize(
    ("token", "reason"), [("tok_declined", "card_declined"), ("tok_of_somebody_else", "unknown_token")]
)
def test_decline_is_final_and_carries_the_providers_reason(token, reason):
    payment = authorize(token)
    assert (payment.status, payment.reason) == ("declined", reason)
    assert announced(payment.order_id) == ["payment_declined"]
    assert intent(payment)["charges"] == 0


def test_unknown_provider_is_a_decline_that_nobody_was_asked_for():
    payment = authorize(provider="nobody")
    assert (payment.status, payment.reason) == ("declined", "unknown_provider")
    assert announced(payment.order_id) == ["payment_declined"]
    assert intent(payment) == {}


def test_customer_is_sent_to_the_providers_page():
    payment = authorize("tok_requires_action")
    assert payment.status == "requires_action"
    assert payment.action.url.endswith(f"/api/v1/payments/sandbox/sb_{payment.id.hex}/approve")
    assert announced(payment.order_id) == []


def test_no_answer_is_unknown_and_never_a_decline():
    timed_out, failed = authorize("tok_timeout_then_ok"), authorize("tok_error")
    assert (timed_out.status, failed.status) == ("unknown", "unknown")
    assert intent(timed_out)["charges"] == 1
    assert intent(failed) == {}


def test_repeat_reports_the_present_state_and_does_not_charge_again():
    first = authorize()
    again = payments.authorize(order_id=first.order_id, amount=Money(999_999, "EUR"), method=OK)
    assert again == first
    assert announced(first.order_id) == ["payment_authorized"]
    assert (intent(first)["charges"], intent(first)["confirms"]) == (1, 1)


def test_repeat_after_a_decline_stays_declined():
    first = authorize("tok_declined")
    assert payments.authorize(order_id=first.order_id, amount=EUR_20, method=OK) == first


def test_repeat_while_unknown_does_not_call_the_provider():
    first = authorize("tok_timeout_then_ok")
    payments.authorize(order_id=first.order_id, amount=EUR_20, method=OK)
    assert intent(first)["confirms"] == 1


def test_twenty_at_once_make_one_payment_and_one_charge():
    order_id = uuid7()
    found = crowd(20, lambda _: payments.authorize(order_id=order_id, amount=EUR_20, method=OK))
    assert {payment.id for payment in found} == {seen(order_id).id}
    assert {payment.status for payment in found} <= {"processing", "authorized"}
    assert intent(seen(order_id))["confirms"] == 1
    assert announced(order_id) == ["payment_authorized"]


def test_timeout_after_the_charge_is_found_out_and_charged_once():
    payment = reconciled(authorize("tok_timeout_then_ok").order_id, "authorized")
    assert announced(payment.order_id) == ["payment_authorized", "payment_resolved"]
    assert (intent(payment)["charges"], intent(payment)["confirms"]) == (1, 1)


def test_repeat_while_the_provider_is_being_asked_says_processing(use):
    held, order_id = Held("confirm", after=False), uuid7()
    method = PaymentMethod(provider=use(held), token="tok_ok")
    first = Beside(lambda: payments.authorize(order_id=order_id, amount=EUR_20, method=method))
    assert held.reached.wait(10)
    assert payments.authorize(order_id=order_id, amount=EUR_20, method=method).status == "processing"
    held.go.set()
    assert first.wait().status == "authorized"


def test_lease_is_kept_while_a_slow_provider_is_being_asked(use):
    held, order_id = Held("confirm", after=False), uuid7()
    method = PaymentMethod(provider=use(held), token="tok_ok")
    slow = Beside(lambda: payments.authorize(order_id=order_id, amount=EUR_20, method=method))
    assert held.reached.wait(10)
    payment = seen(order_id)
    first = column(payment, "lease_until")
    reconcile_until(lambda: column(payment, "lease_until") > first)
    assert (seen(order_id).status, column(payment, "attempt")) == ("processing", 1)
    held.go.set()
    slow.wait()


def test_authorize_that_arrives_after_its_cancel_is_closed():
    order_id = uuid7()
    assert payments.cancel(order_id=order_id) is None
    with pytest.raises(Closed):
        payments.authorize(order_id=order_id, amount=EUR_20, method=OK)
    assert payments.of_orders(order_ids=(order_id,)) == ()
    assert announced(order_id) == []


def test_authorize_repeated_after_a_cancel_is_closed():
    payment = authorize()
    payments.cancel(order_id=payment.order_id)
    with pytest.raises(Closed):
        payments.authorize(order_id=payment.order_id, amount=EUR_20, method=OK)
    assert intent(payment)["status"] == "cancelled"


def test_order_that_costs_nothing_can_be_authorized_captured_and_cancelled():
    payment = authorize(amount=Money(0, "EUR"))
    assert payments.capture(order_id=payment.order_id).status == "captured"
    assert payments.cancel(order_id=payment.order_id).status == "refunded"
