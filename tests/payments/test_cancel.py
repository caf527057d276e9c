"""Cancel: money is released or refunded from every status, also during another operation."""

import pytest

from contexts.payments.interface import PaymentMethod, payments
from shop.db.database import fetch_rows, transaction
from shop.errors import Closed
from shop.ids import uuid7
from tests.concurrency import repeat_concurrently
from tests.payments.fake_providers import PausedSandbox, RefusingSandbox, SilentSandbox
from tests.payments.operations import (
    EUR_20,
    BackgroundTask,
    authorize,
    authorize_and_capture,
    check_now,
    get_payment,
    published_events,
    read_ledger,
    read_provider_refunds,
    read_sandbox_intent,
    reconcile_to_status,
)

pytestmark = pytest.mark.usefixtures("verified")


def test_cancelling_an_unknown_payment_leaves_a_tombstone():
    order_id = uuid7()
    assert [payments.cancel(order_id=order_id) for _ in range(3)] == [None] * 3
    assert fetch_rows("payments", "SELECT status, amount FROM payments_payment WHERE order_id = %s", [order_id]) == [
        ("voided", 0)
    ]


def test_authorized_money_is_released():
    payment = payments.cancel(order_id=authorize().order_id)
    assert payment.status == "voided"
    assert read_sandbox_intent(payment)["status"] == "cancelled"
    assert published_events(payment.order_id) == ["payment_authorized", "payment_voided"]
    assert read_ledger(payment) == []


def test_captured_money_is_refunded_in_full():
    payment = payments.cancel(order_id=authorize_and_capture().order_id)
    assert (payment.status, payment.refunded) == ("refunded", EUR_20)
    assert read_provider_refunds(payment) == [2000]
    assert published_events(payment.order_id) == ["payment_authorized", "payment_captured", "payment_refunded"]
    assert [amount for _, _, amount in read_ledger(payment)] == [2000, -2000, -2000, 2000]


def test_refused_capture_is_released():
    payment = payments.capture(order_id=authorize("tok_capture_refused").order_id)
    assert payments.cancel(order_id=payment.order_id).status == "voided"
    assert read_sandbox_intent(payment)["status"] == "cancelled"


@pytest.mark.parametrize("token", ["tok_timeout_then_ok", "tok_error", "tok_requires_action"])
def test_an_unknown_payment_outcome_is_cancelled_at_the_provider(token):
    payment = payments.cancel(order_id=authorize(token).order_id)
    assert payment.status == "voided"
    assert read_sandbox_intent(payment)["status"] == "cancelled"
    assert published_events(payment.order_id) == ["payment_voided"]


def test_unanswered_capture_is_resolved_first_and_then_refunded(register_provider):
    payment = authorize_and_capture(provider=register_provider(SilentSandbox(capture=1)))
    assert payment.status == "capturing"
    assert payments.cancel(order_id=payment.order_id).status == "refunded"
    assert published_events(payment.order_id) == ["payment_authorized", "payment_captured", "payment_refunded"]
    assert (read_sandbox_intent(payment)["captured"], read_sandbox_intent(payment)["refunded"]) == (2000, 2000)


def test_capture_that_is_refused_under_a_cancel_is_released():
    payment = authorize("tok_capture_refused")
    payments.capture(order_id=payment.order_id)
    assert payments.cancel(order_id=payment.order_id).status == "voided"


@pytest.mark.parametrize("end", ["declined", "voided", "refunded"])
def test_cancelling_a_final_payment_changes_nothing(end):
    payment = {
        "declined": lambda: authorize("tok_declined"),
        "voided": lambda: payments.cancel(order_id=authorize().order_id),
        "refunded": lambda: payments.cancel(order_id=authorize_and_capture().order_id),
    }[end]()
    before = published_events(payment.order_id)
    assert payments.cancel(order_id=payment.order_id) == payment
    assert (payment.status, published_events(payment.order_id)) == (end, before)


def test_a_void_without_response_is_completed_later(register_provider):
    payment = payments.cancel(order_id=authorize(provider=register_provider(SilentSandbox(cancel=3))).order_id)
    assert payment.status == "voiding"
    assert payments.cancel(order_id=payment.order_id).status == "voiding"
    reconcile_to_status(payment.order_id, "voided")
    assert published_events(payment.order_id) == ["payment_authorized", "payment_voided", "payment_resolved"]


def test_a_refund_without_response_is_completed_once(register_provider):
    payment = payments.cancel(
        order_id=authorize_and_capture(provider=register_provider(SilentSandbox(refund=3))).order_id
    )
    assert (payment.status, payment.refunded.amount) == ("refunding", 0)
    reconcile_to_status(payment.order_id, "refunded")
    assert read_provider_refunds(payment) == [2000]
    assert published_events(payment.order_id)[2:] == ["payment_refunded", "payment_resolved"]


def test_a_refused_refund_ends_the_cancel_and_is_a_task_for_staff(register_provider):
    payment = payments.cancel(order_id=authorize_and_capture(provider=register_provider(RefusingSandbox())).order_id)
    assert (payment.status, payment.attention, payment.is_undone) == ("captured", "refund_refused", True)
    assert published_events(payment.order_id)[2:] == ["payment_needs_attention"]


def test_a_refused_refund_is_retried_until_accepted(register_provider):
    provider = RefusingSandbox()
    payment = payments.cancel(order_id=authorize_and_capture(provider=register_provider(provider)).order_id)
    check_now(payment)
    assert get_payment(payment.order_id).attention == "refund_refused"
    provider.refuses = False
    check_now(payment)
    after = get_payment(payment.order_id)
    assert (after.status, after.attention, read_provider_refunds(payment)) == ("refunded", None, [2000])


@pytest.mark.parametrize("after", [False, True])
def test_cancel_overtakes_an_authorize_that_is_in_flight(register_provider, after):
    provider, order_id = PausedSandbox("confirm", after=after), uuid7()
    method = PaymentMethod(provider=register_provider(provider), token="tok_ok")
    late = BackgroundTask(lambda: payments.authorize(order_id=order_id, amount=EUR_20, method=method))
    assert provider.call_reached.wait(10)
    payment = payments.cancel(order_id=order_id)
    provider.resume.set()
    assert isinstance(late.wait(), Closed)
    assert (payment.status, get_payment(order_id).status, read_sandbox_intent(payment)["status"]) == (
        "voided",
        "voided",
        "cancelled",
    )
    assert published_events(order_id) == ["payment_voided"]


def test_control_without_the_fence_a_late_authorize_revives_the_payment():
    """Write unconditionally what the fence refuses: negative control."""
    payment = payments.cancel(order_id=authorize().order_id)
    with pytest.raises(RollBack), transaction("payments"):
        fetch_rows("payments", "UPDATE payments_payment SET status = 'authorized' WHERE id = %s", [payment.id])
        [(status,)] = fetch_rows("payments", "SELECT status FROM payments_payment WHERE id = %s", [payment.id])
        assert (status, read_sandbox_intent(payment)["status"]) == ("authorized", "cancelled")
        raise RollBack


class RollBack(Exception):
    pass


@pytest.mark.parametrize("after", [False, True])
def test_a_cancel_during_a_capture_refunds_it_afterwards(register_provider, after):
    provider = PausedSandbox("capture", after=after)
    payment = authorize(provider=register_provider(provider))
    capture = BackgroundTask(lambda: payments.capture(order_id=payment.order_id))
    assert provider.call_reached.wait(10)
    assert payments.cancel(order_id=payment.order_id).status == "capturing"
    provider.resume.set()
    capture.wait()
    assert get_payment(payment.order_id).status == "refunded"
    assert (read_sandbox_intent(payment)["captured"], read_provider_refunds(payment)) == (2000, [2000])
    assert published_events(payment.order_id)[1:] == ["payment_captured", "payment_refunded", "payment_resolved"]


def test_twenty_concurrent_cancels_refund_once():
    payment = authorize_and_capture()
    found = repeat_concurrently(20, lambda _: payments.cancel(order_id=payment.order_id))
    assert {result.status for result in found} <= {"captured", "refunding", "refunded"}
    assert get_payment(payment.order_id).status == "refunded"
    assert read_provider_refunds(payment) == [2000]


def test_concurrent_cancel_and_capture_leave_no_captured_money():
    for _ in range(20):
        payment = authorize()
        repeat_concurrently(2, lambda n, key=payment.order_id: [payments.capture, payments.cancel][n](order_id=key))
        settled = reconcile_to_status(payment.order_id, "voided", "refunded")
        intent = read_sandbox_intent(payment)
        assert intent["captured"] == intent["refunded"] == settled.refunded.amount
        assert sum(amount for _, account, amount in read_ledger(payment) if account == "provider") == 0


def test_concurrent_cancel_and_authorize_leave_no_authorized_money():
    for _ in range(20):
        order_id, method = uuid7(), PaymentMethod(provider="sandbox", token="tok_ok")

        def work(number, order_id=order_id, method=method):
            if number:
                return payments.cancel(order_id=order_id)
            return payments.authorize(order_id=order_id, amount=EUR_20, method=method)

        repeat_concurrently(2, work)
        found = payments.of_orders(order_ids=(order_id,))
        assert all(
            payment.status == "voided" and read_sandbox_intent(payment)["status"] == "cancelled" for payment in found
        )
