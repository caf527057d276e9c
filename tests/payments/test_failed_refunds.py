"""A refund that the customer's bank returns later is learned, booked back, and a task for staff until it is paid."""

from collections.abc import Callable
from typing import Any

import pytest

from contexts.payments.interface import payments
from contexts.payments.providers import ProviderResponse
from contexts.payments.providers.sandbox import Sandbox
from contexts.payments.service import refunds, tasks
from shop.db.database import fetch_rows
from shop.money import Money
from tests.concurrency import repeat_concurrently
from tests.payments.operations import (
    EUR_20,
    authorize_and_capture,
    check_now,
    get_payment,
    move_money,
    published_events,
    read_column,
    read_ledger,
    read_provider_refunds,
)

pytestmark = [pytest.mark.usefixtures("verified"), pytest.mark.usefixtures("error_log")]


def refund(payment, amount=None):
    money = Money(amount, "EUR") if amount else None
    return refunds.refund(payment_id=payment.id, amount=money, reason="A scratch", actor="clerk", key=None)


def fail_refund(payment):
    move_money(payment, "refund_failed")
    check_now(payment)


def made_refunds(payment):
    made = payments.refunds_of_orders(order_ids=(payment.order_id,))
    return [(one.amount.amount, one.is_failed) for one in made]


def balance(payment):
    return sum(amount for _, account, amount in read_ledger(payment) if account == "provider")


def test_a_refund_that_fails_later_is_booked_back_and_a_task_for_staff():
    payment = authorize_and_capture()
    refund(payment)
    assert get_payment(payment.order_id).status == "refunded"
    fail_refund(payment)
    after = get_payment(payment.order_id)
    assert (after.status, after.refunded.amount, after.task) == ("captured", 0, "refund_failed")
    assert (made_refunds(payment), balance(payment)) == ([(2000, True)], 2000)
    assert {"payment_refund_failed", "payment_needs_attention"} <= set(published_events(payment.order_id))
    [(status, refusal)] = fetch_rows(
        "payments", "SELECT status, refusal FROM payments_refund WHERE payment_id = %s", [payment.id]
    )
    assert (status, refusal) == ("failed", "returned_by_bank")


def test_a_failed_refund_is_learned_once():
    payment = authorize_and_capture()
    refund(payment, 500)
    fail_refund(payment)
    check_now(payment)
    repeat_concurrently(4, lambda _: payments.sync(order_id=payment.order_id) and None)
    assert published_events(payment.order_id).count("payment_refund_failed") == 1
    assert (balance(payment), read_column(payment, "owed")) == (2000, 500)


@pytest.mark.parametrize("again", ["retry", "refund", "other_means", "at_the_provider"])
def test_another_refund_ends_the_task(again):
    payment = authorize_and_capture()
    refund(payment, 500)
    fail_refund(payment)
    if again == "retry":
        tasks.retry(payment_id=payment.id, actor="clerk")
    elif again == "refund":
        refund(payment, 500)
    elif again == "other_means":
        tasks.mark_refunded(payment_id=payment.id, reason="Bank transfer", actor="clerk")
    else:
        move_money(payment, "refund", 500)
        check_now(payment)
    after = get_payment(payment.order_id)
    assert (after.status, after.refunded.amount, after.task) == ("captured", 500, "")
    assert (made_refunds(payment), read_column(payment, "owed")) == ([(500, True), (500, False)], 0)


def test_a_part_that_is_refunded_again_leaves_the_rest_to_staff():
    payment = authorize_and_capture()
    refund(payment, 500)
    fail_refund(payment)
    refund(payment, 200)
    assert (get_payment(payment.order_id).task, read_column(payment, "owed")) == ("refund_failed", 300)


def test_concurrent_retries_refund_once():
    payment = authorize_and_capture()
    refund(payment, 500)
    fail_refund(payment)

    def retry(_):
        try:
            tasks.retry(payment_id=payment.id, actor="clerk")
        except (tasks.NoDecisionNeeded, refunds.AnotherRefundRuns):
            return

    repeat_concurrently(6, retry)
    assert (get_payment(payment.order_id).refunded.amount, read_provider_refunds(payment)) == (500, [500, 500])


def test_staff_accept_a_failed_refund_and_the_money_stays_refundable():
    payment = authorize_and_capture()
    refund(payment, 500)
    fail_refund(payment)
    tasks.accept(payment_id=payment.id, reason="The customer does not want it", actor="clerk")
    assert (get_payment(payment.order_id).task, read_column(payment, "owed")) == ("", 0)
    check_now(payment)
    assert get_payment(payment.order_id).task == ""
    assert refund(payment).amount == 2000


def test_the_failed_refund_of_a_cancelled_order_is_refunded_again_only_by_staff():
    payment = authorize_and_capture()
    assert payments.cancel(order_id=payment.order_id).status == "refunded"
    fail_refund(payment)
    after = get_payment(payment.order_id)
    assert (after.status, after.task, after.is_undone) == ("captured", "refund_failed", True)
    check_now(payment)
    assert read_provider_refunds(payment) == [2000]
    with pytest.raises(refunds.NotRefundable):
        refund(payment)
    tasks.retry(payment_id=payment.id, actor="clerk")
    after = get_payment(payment.order_id)
    assert (after.status, after.refunded, after.task) == ("refunded", EUR_20, "")


def test_staff_accept_the_failed_refund_of_a_cancelled_order():
    payment = authorize_and_capture()
    payments.cancel(order_id=payment.order_id)
    fail_refund(payment)
    tasks.accept(payment_id=payment.id, reason="The account is closed", actor="clerk")
    after = get_payment(payment.order_id)
    assert (after.task, after.is_undone, read_column(payment, "waived")) == ("", True, 2000)


def test_a_refund_at_the_provider_that_fails_is_found_by_its_amount():
    payment = authorize_and_capture()
    move_money(payment, "refund", 700)
    check_now(payment)
    fail_refund(payment)
    after = get_payment(payment.order_id)
    assert (after.refunded.amount, after.task, made_refunds(payment)) == (0, "refund_failed", [(700, True)])


def test_a_second_refund_that_fails_is_owed_too():
    payment = authorize_and_capture()
    refund(payment, 500)
    refund(payment, 500)
    fail_refund(payment)
    fail_refund(payment)
    assert (read_column(payment, "owed"), get_payment(payment.order_id).refunded.amount) == (1000, 0)


def count_entries(payment):
    sql = "SELECT count(*) FROM shop_auditentry WHERE object_id = %s"
    return fetch_rows("payments", sql, [str(payment.id)])[0][0]


class ObservedSandbox(Sandbox):
    """A sandbox that calls back when an intent is retrieved."""

    def __init__(self) -> None:
        self.on_retrieve: Callable[[], None] = lambda: None

    def retrieve(self, **arguments: Any) -> ProviderResponse:
        self.on_retrieve()
        return super().retrieve(**arguments)


@pytest.mark.parametrize("decide", [tasks.retry, refunds.sync_now])
def test_what_staff_ask_of_the_provider_is_audited_when_it_was_asked(register_provider, decide):
    sandbox = ObservedSandbox()
    payment = authorize_and_capture(provider=register_provider(sandbox))
    refund(payment)
    fail_refund(payment)
    before, counted = count_entries(payment), []
    sandbox.on_retrieve = lambda: counted.append(count_entries(payment))
    decide(payment_id=payment.id, actor="clerk")
    assert counted[0] == before < count_entries(payment)
