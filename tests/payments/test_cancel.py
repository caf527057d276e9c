"""Cancel: whatever there is goes back, from every state, also while something else is under way."""

import pytest

from contexts.payments.interface import PaymentMethod, payments
from shop.database import rows, transaction
from shop.errors import Closed
from shop.ids import uuid7
from tests.payments.desk import (
    EUR_20,
    Beside,
    Held,
    Refusing,
    Unsteady,
    announced,
    authorize,
    captured,
    intent,
    ledger,
    provider_refunds,
    reconciled,
    seen,
)
from tests.threads import crowd

pytestmark = pytest.mark.usefixtures("verified")


def test_unseen_payment_gets_a_tombstone_and_a_repeat_says_the_same():
    order_id = uuid7()
    assert [payments.cancel(order_id=order_id) for _ in range(3)] == [None] * 3
    assert rows("payments", "SELECT status, amount FROM payments_payment WHERE order_id = %s", [order_id]) == [("voided", 0)]


def test_authorized_money_is_released():
    payment = payments.cancel(order_id=authorize().order_id)
    assert payment.status == "voided"
    assert intent(payment)["status"] == "cancelled"
    assert announced(payment.order_id) == ["payment_authorized", "payment_voided"]
    assert ledger(payment) == []


def test_captured_money_is_refunded_in_full():
    payment = payments.cancel(order_id=captured().order_id)
    assert (payment.status, payment.refunded) == ("refunded", EUR_20)
    assert provider_refunds(payment) == [2000]
    assert announced(payment.order_id) == ["payment_authorized", "payment_captured", "payment_refunded"]
    assert [amount for _, _, amount in ledger(payment)] == [2000, -2000, -2000, 2000]


def test_refused_capture_is_released():
    payment = payments.capture(order_id=authorize("tok_capture_refused").order_id)
    assert payments.cancel(order_id=payment.order_id).status == "voided"
    assert intent(payment)["status"] == "cancelled"


@pytest.mark.parametrize("token", ["tok_timeout_then_ok", "tok_error", "tok_requires_action"])
def test_what_is_not_known_yet_is_cut_off_at_the_provider(token):
    payment = payments.cancel(order_id=authorize(token).order_id)
    assert payment.status == "voided"
    assert intent(payment)["status"] == "cancelled"
    assert announced(payment.order_id) == ["payment_voided"]


def test_unanswered_capture_is_resolved_first_and_then_refunded(use):
    payment = captured(provider=use(Unsteady(capture=1)))
    assert payment.status == "capturing"
    assert payments.cancel(order_id=payment.order_id).status == "refunded"
    assert announced(payment.order_id) == ["payment_authorized", "payment_captured", "payment_refunded"]
    assert (intent(payment)["captured"], intent(payment)["refunded"]) == (2000, 2000)


def test_capture_that_is_refused_under_a_cancel_is_released():
    payment = authorize("tok_capture_refused")
    payments.capture(order_id=payment.order_id)
    assert payments.cancel(order_id=payment.order_id).status == "voided"


@pytest.mark.parametrize("end", ["declined", "voided", "refunded"])
def test_final_states_only_report(end):
    payment = {
        "declined": lambda: authorize("tok_declined"),
        "voided": lambda: payments.cancel(order_id=authorize().order_id),
        "refunded": lambda: payments.cancel(order_id=captured().order_id),
    }[end]()
    before = announced(payment.order_id)
    assert payments.cancel(order_id=payment.order_id) == payment
    assert (payment.status, announced(payment.order_id)) == (end, before)


def test_void_that_is_not_answered_is_carried_on(use):
    payment = payments.cancel(order_id=authorize(provider=use(Unsteady(cancel=3))).order_id)
    assert payment.status == "voiding"
    assert payments.cancel(order_id=payment.order_id).status == "voiding"
    reconciled(payment.order_id, "voided")
    assert announced(payment.order_id) == ["payment_authorized", "payment_voided", "payment_resolved"]


def test_refund_that_is_not_answered_is_carried_on_and_given_once(use):
    payment = payments.cancel(order_id=captured(provider=use(Unsteady(refund=3))).order_id)
    assert (payment.status, payment.refunded.amount) == ("refunding", 0)
    reconciled(payment.order_id, "refunded")
    assert provider_refunds(payment) == [2000]
    assert announced(payment.order_id)[2:] == ["payment_refunded", "payment_resolved"]


def test_refund_that_the_provider_refuses_is_tried_until_it_does_not(use):
    provider = Refusing()
    payment = payments.cancel(order_id=captured(provider=use(provider)).order_id)
    assert payment.status == "refunding"
    provider.refuses = False
    reconciled(payment.order_id, "refunded")


@pytest.mark.parametrize("after", [False, True])
def test_cancel_overtakes_an_authorize_that_is_in_flight(use, after):
    held, order_id = Held("confirm", after=after), uuid7()
    method = PaymentMethod(provider=use(held), token="tok_ok")
    late = Beside(lambda: payments.authorize(order_id=order_id, amount=EUR_20, method=method))
    assert held.reached.wait(10)
    payment = payments.cancel(order_id=order_id)
    held.go.set()
    assert isinstance(late.wait(), Closed)
    assert (payment.status, seen(order_id).status, intent(payment)["status"]) == ("voided", "voided", "cancelled")
    assert announced(order_id) == ["payment_voided"]


def test_without_the_fence_a_late_authorize_would_bring_the_payment_back():
    """Negative control: the same write, unconditional."""
    payment = payments.cancel(order_id=authorize().order_id)
    with pytest.raises(RollBack), transaction("payments"):
        rows("payments", "UPDATE payments_payment SET status = 'authorized' WHERE id = %s", [payment.id])
        [(status,)] = rows("payments", "SELECT status FROM payments_payment WHERE id = %s", [payment.id])
        assert (status, intent(payment)["status"]) == ("authorized", "cancelled")
        raise RollBack


class RollBack(Exception):
    pass


@pytest.mark.parametrize("after", [False, True])
def test_cancel_waits_for_a_capture_in_flight_which_then_turns_round(use, after):
    held = Held("capture", after=after)
    payment = authorize(provider=use(held))
    capture = Beside(lambda: payments.capture(order_id=payment.order_id))
    assert held.reached.wait(10)
    assert payments.cancel(order_id=payment.order_id).status == "capturing"
    held.go.set()
    capture.wait()
    assert seen(payment.order_id).status == "refunded"
    assert (intent(payment)["captured"], provider_refunds(payment)) == (2000, [2000])
    assert announced(payment.order_id)[1:] == ["payment_captured", "payment_refunded", "payment_resolved"]


def test_twenty_cancels_at_once_refund_once():
    payment = captured()
    found = crowd(20, lambda _: payments.cancel(order_id=payment.order_id))
    assert {result.status for result in found} <= {"captured", "refunding", "refunded"}
    assert seen(payment.order_id).status == "refunded"
    assert provider_refunds(payment) == [2000]


def test_cancel_and_capture_at_once_leave_no_money_with_us():
    for _ in range(20):
        payment = authorize()
        crowd(2, lambda n, key=payment.order_id: [payments.capture, payments.cancel][n](order_id=key))
        settled = reconciled(payment.order_id, "voided", "refunded")
        there = intent(payment)
        assert there["captured"] == there["refunded"] == settled.refunded.amount
        assert sum(amount for _, account, amount in ledger(payment) if account == "provider") == 0


def test_cancel_and_authorize_at_once_leave_no_money_set_aside():
    for _ in range(20):
        order_id, method = uuid7(), PaymentMethod(provider="sandbox", token="tok_ok")

        def work(number, order_id=order_id, method=method):
            if number:
                return payments.cancel(order_id=order_id)
            return payments.authorize(order_id=order_id, amount=EUR_20, method=method)

        crowd(2, work)
        left = payments.of_orders(order_ids=(order_id,))
        assert all(payment.status == "voided" and intent(payment)["status"] == "cancelled" for payment in left)
