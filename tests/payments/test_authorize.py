"""Authorize: every response of the provider has its transition, and a repeat never charges again."""

import pytest

from contexts.payments.interface import PaymentMethod, WrongCurrency, payments
from shop.errors import Closed
from shop.ids import uuid7
from shop.money import Money
from tests.concurrency import repeat_concurrently
from tests.payments.fake_providers import PausedSandbox
from tests.payments.operations import (
    EUR_20,
    BackgroundTask,
    authorize,
    get_payment,
    published_events,
    read_column,
    read_sandbox_intent,
    reconcile_to_status,
    reconcile_until,
)

pytestmark = pytest.mark.usefixtures("verified")

OK = PaymentMethod(provider="sandbox", token="tok_ok")


def test_money_is_authorized_and_published():
    payment = authorize()
    assert (payment.status, payment.amount, payment.refunded) == ("authorized", EUR_20, Money(0, "EUR"))
    assert published_events(payment.order_id) == ["payment_authorized"]
    assert read_sandbox_intent(payment)["charges"] == 1


def test_the_token_is_deleted_once_the_provider_has_responded():
    assert [read_column(authorize(token), "token") for token in ("tok_ok", "tok_declined", "tok_requires_action")] == [
        ""
    ] * 3


def test_token_is_kept_while_the_outcome_is_unknown():
    assert read_column(authorize("tok_error"), "token") == "tok_error"


def test_an_amount_in_another_currency_is_refused_and_stored_nowhere():
    order_id = uuid7()
    for _ in range(2):
        with pytest.raises(WrongCurrency) as refused:
            payments.authorize(order_id=order_id, amount=Money(2000, "USD"), method=OK)
        assert refused.value.facts == {"currency": "EUR", "requested": "USD"}
    assert payments.of_orders(order_ids=(order_id,)) == ()
    assert payments.cancel(order_id=order_id) is None


def test_a_payment_keeps_its_currency_when_the_setting_changes(settings):
    payment = authorize()
    settings.CURRENCY = "USD"
    again = payments.authorize(order_id=payment.order_id, amount=EUR_20, method=OK)
    assert (again.id, again.amount) == (payment.id, EUR_20)
    captured = payments.capture(order_id=payment.order_id)
    assert (captured.status, captured.amount) == ("captured", EUR_20)


@pytest.mark.parametrize(
    ("token", "reason"), [("tok_declined", "card_declined"), ("tok_of_another_shop", "unknown_token")]
)
def test_decline_is_final_and_carries_the_providers_reason(token, reason):
    payment = authorize(token)
    assert (payment.status, payment.reason) == ("declined", reason)
    assert published_events(payment.order_id) == ["payment_declined"]
    assert read_sandbox_intent(payment)["charges"] == 0


def test_an_unknown_provider_is_declined_without_a_call():
    payment = authorize(provider="missing")
    assert (payment.status, payment.reason) == ("declined", "unknown_provider")
    assert published_events(payment.order_id) == ["payment_declined"]
    assert read_sandbox_intent(payment) == {}


def test_the_customer_gets_the_address_of_the_providers_page():
    payment = authorize("tok_requires_action")
    assert payment.status == "requires_action"
    assert payment.action.url.endswith(f"/api/v1/payments/sandbox/sb_{payment.id.hex}/approve")
    assert published_events(payment.order_id) == []


def test_no_response_is_unknown_and_never_a_decline():
    timed_out, failed = authorize("tok_timeout_then_ok"), authorize("tok_error")
    assert (timed_out.status, failed.status) == ("unknown", "unknown")
    assert read_sandbox_intent(timed_out)["charges"] == 1
    assert read_sandbox_intent(failed) == {}


def test_a_repeat_returns_the_current_state_and_does_not_charge_again():
    first = authorize()
    again = payments.authorize(order_id=first.order_id, amount=Money(999_999, "EUR"), method=OK)
    assert again == first
    assert published_events(first.order_id) == ["payment_authorized"]
    assert (read_sandbox_intent(first)["charges"], read_sandbox_intent(first)["confirms"]) == (1, 1)


def test_repeat_after_a_decline_stays_declined():
    first = authorize("tok_declined")
    assert payments.authorize(order_id=first.order_id, amount=EUR_20, method=OK) == first


def test_repeat_while_unknown_does_not_call_the_provider():
    first = authorize("tok_timeout_then_ok")
    payments.authorize(order_id=first.order_id, amount=EUR_20, method=OK)
    assert read_sandbox_intent(first)["confirms"] == 1


def test_twenty_concurrent_requests_make_one_payment_and_one_charge():
    order_id = uuid7()
    found = repeat_concurrently(20, lambda _: payments.authorize(order_id=order_id, amount=EUR_20, method=OK))
    assert {payment.id for payment in found} == {get_payment(order_id).id}
    assert {payment.status for payment in found} <= {"processing", "authorized"}
    assert read_sandbox_intent(get_payment(order_id))["confirms"] == 1
    assert published_events(order_id) == ["payment_authorized"]


def test_a_timeout_after_the_charge_is_reconciled_and_charged_once():
    payment = reconcile_to_status(authorize("tok_timeout_then_ok").order_id, "authorized")
    assert published_events(payment.order_id) == ["payment_authorized", "payment_resolved"]
    assert (read_sandbox_intent(payment)["charges"], read_sandbox_intent(payment)["confirms"]) == (1, 1)


def test_a_repeat_during_the_provider_call_returns_processing(register_provider):
    provider, order_id = PausedSandbox("confirm", after=False), uuid7()
    method = PaymentMethod(provider=register_provider(provider), token="tok_ok")
    first = BackgroundTask(lambda: payments.authorize(order_id=order_id, amount=EUR_20, method=method))
    assert provider.call_reached.wait(10)
    assert payments.authorize(order_id=order_id, amount=EUR_20, method=method).status == "processing"
    provider.resume.set()
    assert first.wait().status == "authorized"


def test_the_lease_is_kept_during_a_slow_provider_call(register_provider):
    provider, order_id = PausedSandbox("confirm", after=False), uuid7()
    method = PaymentMethod(provider=register_provider(provider), token="tok_ok")
    slow = BackgroundTask(lambda: payments.authorize(order_id=order_id, amount=EUR_20, method=method))
    assert provider.call_reached.wait(10)
    payment = get_payment(order_id)
    first = read_column(payment, "lease_until")
    reconcile_until(lambda: read_column(payment, "lease_until") > first)
    assert (get_payment(order_id).status, read_column(payment, "attempt")) == ("processing", 1)
    provider.resume.set()
    slow.wait()


def test_authorize_that_arrives_after_its_cancel_is_closed():
    order_id = uuid7()
    assert payments.cancel(order_id=order_id) is None
    with pytest.raises(Closed):
        payments.authorize(order_id=order_id, amount=EUR_20, method=OK)
    assert payments.of_orders(order_ids=(order_id,)) == ()
    assert published_events(order_id) == []


def test_authorize_repeated_after_a_cancel_is_closed():
    payment = authorize()
    payments.cancel(order_id=payment.order_id)
    with pytest.raises(Closed):
        payments.authorize(order_id=payment.order_id, amount=EUR_20, method=OK)
    assert read_sandbox_intent(payment)["status"] == "cancelled"


def test_order_that_costs_nothing_can_be_authorized_captured_and_cancelled():
    payment = authorize(amount=Money(0, "EUR"))
    assert payments.capture(order_id=payment.order_id).status == "captured"
    assert payments.cancel(order_id=payment.order_id).status == "refunded"
