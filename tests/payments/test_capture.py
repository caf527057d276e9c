"""Capture: the money is taken once, whatever fails meanwhile."""

import pytest

from contexts.payments.interface import NotCapturable, payments
from shop.ids import uuid7
from tests.concurrency import repeat_concurrently
from tests.payments.fake_providers import PausedSandbox, SilentSandbox
from tests.payments.operations import (
    BackgroundTask,
    authorize,
    authorize_and_capture,
    get_payment,
    published_events,
    read_ledger,
    read_sandbox_intent,
    reconcile_to_status,
)

pytestmark = pytest.mark.usefixtures("verified")


def test_money_is_captured_booked_and_published():
    payment = authorize_and_capture()
    assert payment.status == "captured"
    assert published_events(payment.order_id) == ["payment_authorized", "payment_captured"]
    assert read_sandbox_intent(payment)["captured"] == 2000
    assert read_ledger(payment) == [("capture", "provider", 2000), ("capture", "sales", -2000)]


def test_a_repeat_captures_nothing_more():
    payment = authorize_and_capture()
    assert payments.capture(order_id=payment.order_id) == payment
    assert read_sandbox_intent(payment)["captures"] == 1


def test_a_definite_refusal_records_the_reason():
    payment = payments.capture(order_id=authorize("tok_capture_refused").order_id)
    assert (payment.status, payment.reason) == ("capture_refused", "capture_refused_authorized")
    assert published_events(payment.order_id) == ["payment_authorized", "capture_refused"]
    assert payments.capture(order_id=payment.order_id).status == "capture_refused"
    assert read_ledger(payment) == []


def test_unknown_capture_stays_capturing_until_the_same_key_is_answered():
    payment = payments.capture(order_id=authorize("tok_capture_timeout_then_ok").order_id)
    assert payment.status == "capturing"
    assert read_ledger(payment) == []
    payment = reconcile_to_status(payment.order_id, "captured")
    assert published_events(payment.order_id) == ["payment_authorized", "payment_captured", "payment_resolved"]
    assert read_sandbox_intent(payment)["captured"] == 2000
    assert len(read_ledger(payment)) == 2


def test_a_capture_is_retried_until_the_provider_responds(register_provider):
    payment = authorize_and_capture(provider=register_provider(SilentSandbox(capture=3)))
    assert payment.status == "capturing"
    reconcile_to_status(payment.order_id, "captured")
    assert read_sandbox_intent(payment)["captures"] == 4


@pytest.mark.parametrize("token", ["tok_declined", "tok_requires_action", "tok_error"])
def test_only_an_authorized_payment_can_be_captured(token):
    payment = authorize(token)
    with pytest.raises(NotCapturable) as refused:
        payments.capture(order_id=payment.order_id)
    assert refused.value.present == payment.status


def test_unknown_and_voided_payments_cannot_be_captured():
    voided = payments.cancel(order_id=authorize().order_id)
    for order_id in (uuid7(), voided.order_id):
        with pytest.raises(NotCapturable):
            payments.capture(order_id=order_id)


def test_twenty_concurrent_captures_take_the_money_once():
    payment = authorize()
    found = repeat_concurrently(20, lambda _: payments.capture(order_id=payment.order_id))
    assert {result.status for result in found} <= {"capturing", "captured"}
    assert get_payment(payment.order_id).status == "captured"
    assert (read_sandbox_intent(payment)["captures"], read_sandbox_intent(payment)["captured"]) == (1, 2000)
    assert len(read_ledger(payment)) == 2


def test_a_repeat_during_the_provider_call_returns_capturing(register_provider):
    provider = PausedSandbox("capture", after=True)
    payment = authorize(provider=register_provider(provider))
    first = BackgroundTask(lambda: payments.capture(order_id=payment.order_id))
    assert provider.call_reached.wait(10)
    assert payments.capture(order_id=payment.order_id).status == "capturing"
    provider.resume.set()
    assert first.wait().status == "captured"
