"""Capture: once, whatever happens on the way."""

import pytest

from contexts.payments.interface import NotCapturable, payments
from shop.ids import uuid7
from tests.payments.desk import (
    Beside,
    Held,
    Unsteady,
    announced,
    authorize,
    captured,
    intent,
    ledger,
    reconciled,
    seen,
)
from tests.threads import crowd

pytestmark = pytest.mark.usefixtures("verified")


def test_money_is_taken_booked_and_announced():
    payment = captured()
    assert payment.status == "captured"
    assert announced(payment.order_id) == ["payment_authorized", "payment_captured"]
    assert intent(payment)["captured"] == 2000
    assert ledger(payment) == [("capture", "provider", 2000), ("capture", "sales", -2000)]


def test_repeat_reports_and_takes_nothing_more():
    payment = captured()
    assert payments.capture(order_id=payment.order_id) == payment
    assert intent(payment)["captures"] == 1


def test_definite_refusal_leaves_the_reason():
    payment = payments.capture(order_id=authorize("tok_capture_refused").order_id)
    assert (payment.status, payment.reason) == ("capture_refused", "capture_refused_authorized")
    assert announced(payment.order_id) == ["payment_authorized", "capture_refused"]
    assert payments.capture(order_id=payment.order_id).status == "capture_refused"
    assert ledger(payment) == []


def test_unknown_capture_stays_capturing_until_the_same_key_is_answered():
    payment = payments.capture(order_id=authorize("tok_capture_timeout_then_ok").order_id)
    assert payment.status == "capturing"
    assert ledger(payment) == []
    payment = reconciled(payment.order_id, "captured")
    assert announced(payment.order_id) == ["payment_authorized", "payment_captured", "payment_resolved"]
    assert intent(payment)["captured"] == 2000
    assert len(ledger(payment)) == 2


def test_capture_is_asked_for_until_the_provider_answers(use):
    payment = captured(provider=use(Unsteady(capture=3)))
    assert payment.status == "capturing"
    reconciled(payment.order_id, "captured")
    assert intent(payment)["captures"] == 4


@pytest.mark.parametrize("token", ["tok_declined", "tok_requires_action", "tok_error"])
def test_what_is_not_authorized_cannot_be_captured(token):
    payment = authorize(token)
    with pytest.raises(NotCapturable) as refused:
        payments.capture(order_id=payment.order_id)
    assert refused.value.present == payment.status


def test_unseen_and_voided_payments_cannot_be_captured():
    voided = payments.cancel(order_id=authorize().order_id)
    for order_id in (uuid7(), voided.order_id):
        with pytest.raises(NotCapturable):
            payments.capture(order_id=order_id)


def test_twenty_at_once_take_the_money_once():
    payment = authorize()
    found = crowd(20, lambda _: payments.capture(order_id=payment.order_id))
    assert {result.status for result in found} <= {"capturing", "captured"}
    assert seen(payment.order_id).status == "captured"
    assert (intent(payment)["captures"], intent(payment)["captured"]) == (1, 2000)
    assert len(ledger(payment)) == 2


def test_repeat_while_the_provider_is_being_asked_says_capturing(use):
    held = Held("capture", after=True)
    payment = authorize(provider=use(held))
    first = Beside(lambda: payments.capture(order_id=payment.order_id))
    assert held.reached.wait(10)
    assert payments.capture(order_id=payment.order_id).status == "capturing"
    held.go.set()
    assert first.wait().status == "captured"
