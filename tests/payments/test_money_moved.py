"""Money that moves at the provider without a request of the shop: it is detected, booked and published once."""

import json

import pytest
from django.core.management import CommandError, call_command

from contexts.payments.interface import payments
from contexts.payments.service import refunds, tasks
from shop.db.database import execute, fetch_rows
from tests.concurrency import repeat_concurrently
from tests.http_client import Client
from tests.payments.fake_providers import RefusingSandbox
from tests.payments.operations import (
    EUR_20,
    authorize,
    authorize_and_capture,
    check_now,
    get_payment,
    move_money,
    published_events,
    read_column,
    read_ledger,
    read_provider_refunds,
    read_sandbox_intent,
)
from tests.staff_accounts import sign_access_token

pytestmark = pytest.mark.usefixtures("verified")


def balance(payment, account):
    return sum(amount for _, name, amount in read_ledger(payment) if name == account)


def made_refunds(payment):
    return [(made.amount.amount, made.cause) for made in payments.refunds_of_orders(order_ids=(payment.order_id,))]


def audit_actions(payment):
    rows = fetch_rows(
        "payments", "SELECT action FROM shop_auditentry WHERE object_id = %s ORDER BY id", [str(payment.id)]
    )
    return [action for (action,) in rows]


def test_a_refund_at_the_provider_is_detected_booked_and_published():
    payment = authorize_and_capture()
    move_money(payment, "refund", 500)
    check_now(payment)
    after = get_payment(payment.order_id)
    assert (after.status, after.refunded.amount, balance(payment, "provider")) == ("captured", 500, 1500)
    assert made_refunds(payment) == [(500, "provider")]
    assert published_events(payment.order_id)[2:] == ["payment_refunded"]
    check_now(payment)
    assert published_events(payment.order_id)[2:] == ["payment_refunded"]


def test_a_full_refund_at_the_provider_ends_the_payment():
    payment = authorize_and_capture()
    move_money(payment, "refund")
    check_now(payment)
    assert get_payment(payment.order_id).status == "refunded"
    with pytest.raises(refunds.NotRefundable):
        refunds.refund(payment_id=payment.id, amount=None, reason="Again", actor="clerk", key=None)


def test_a_cancel_after_a_partial_refund_at_the_provider_refunds_only_the_rest():
    payment = authorize_and_capture()
    move_money(payment, "refund", 500)
    cancelled = payments.cancel(order_id=payment.order_id)
    assert (cancelled.status, cancelled.refunded, cancelled.attention) == ("refunded", EUR_20, None)
    assert sorted(read_provider_refunds(payment)) == [500, 1500]
    assert balance(payment, "provider") == 0


def test_a_cancel_after_a_full_refund_at_the_provider_ends():
    payment = authorize_and_capture()
    move_money(payment, "refund")
    assert payments.cancel(order_id=payment.order_id).status == "refunded"
    assert read_provider_refunds(payment) == [2000]


def test_a_refund_by_staff_includes_earlier_refunds_at_the_provider_in_its_limit():
    payment = authorize_and_capture()
    move_money(payment, "refund", 1500)
    with pytest.raises(refunds.RefundRefused):
        refunds.refund(payment_id=payment.id, amount=EUR_20, reason="Broken", actor="clerk", key=None)
    assert (get_payment(payment.order_id).refunded.amount, read_column(payment, "pending")) == (1500, 0)


def test_a_capture_at_the_provider_is_detected():
    payment = authorize()
    move_money(payment, "capture")
    check_now(payment)
    assert (get_payment(payment.order_id).status, balance(payment, "provider")) == ("captured", 2000)


def test_a_capture_of_a_part_at_the_provider_is_a_task_for_staff(error_log):
    payment = authorize()
    move_money(payment, "capture", 1200)
    check_now(payment)
    after = get_payment(payment.order_id)
    assert (after.status, after.captured.amount, after.attention) == ("captured", 1200, "captured_in_part")
    assert payments.cancel(order_id=payment.order_id).refunded.amount == 1200


def test_a_dispute_takes_the_money_and_gives_it_back_when_it_is_won():
    payment = authorize_and_capture()
    move_money(payment, "dispute", 2000)
    check_now(payment)
    after = get_payment(payment.order_id)
    assert (after.disputed, after.dispute, after.attention) == (EUR_20, "open", "disputed")
    assert (balance(payment, "provider"), balance(payment, "disputes")) == (0, 2000)
    with pytest.raises(refunds.RefundTooLarge):
        refunds.refund(payment_id=payment.id, amount=None, reason="Broken", actor="clerk", key=None)
    move_money(payment, "dispute_won")
    check_now(payment)
    after = get_payment(payment.order_id)
    assert (after.disputed.amount, after.dispute, after.attention) == (0, "won", None)
    assert (balance(payment, "provider"), balance(payment, "disputes")) == (2000, 0)
    assert published_events(payment.order_id)[2:] == ["payment_disputed", "payment_needs_attention", "payment_disputed"]


def test_a_lost_dispute_stays_until_staff_accept_it():
    payment = authorize_and_capture()
    move_money(payment, "dispute")
    move_money(payment, "dispute_lost")
    check_now(payment)
    assert get_payment(payment.order_id).dispute == "lost"


def test_a_cancelled_order_whose_money_is_disputed_is_refunded_when_the_dispute_is_won():
    payment = authorize_and_capture()
    move_money(payment, "dispute")
    cancelled = payments.cancel(order_id=payment.order_id)
    assert (cancelled.status, cancelled.is_undone, cancelled.attention) == ("captured", True, "disputed")
    move_money(payment, "dispute_won")
    check_now(payment)
    assert (get_payment(payment.order_id).status, read_provider_refunds(payment)) == ("refunded", [2000])


def test_a_check_without_changes_publishes_nothing_and_the_next_one_is_later():
    payment = authorize_and_capture()
    check_now(payment)
    assert published_events(payment.order_id) == ["payment_authorized", "payment_captured"]
    wait = "SELECT extract(epoch FROM check_at - now()) FROM payments_payment WHERE id = %s"
    [(first,)] = fetch_rows("payments", wait, [payment.id])
    execute(
        "payments", "UPDATE payments_payment SET created_at = now() - interval '2 days' WHERE id = %s", [payment.id]
    )
    check_now(payment)
    [(later,)] = fetch_rows("payments", wait, [payment.id])
    assert 3500 < first <= 3600
    assert 47 * 3600 < later < 49 * 3600


def test_a_payment_is_not_checked_after_the_window():
    payment = authorize_and_capture()
    execute(
        "payments", "UPDATE payments_payment SET created_at = now() - interval '121 days' WHERE id = %s", [payment.id]
    )
    execute("payments", "UPDATE payments_payment SET due_at = now() WHERE id = %s", [payment.id])
    payments.sync(order_id=payment.order_id)
    assert read_column(payment, "check_at") is None


def test_concurrent_checks_record_a_refund_once():
    payment = authorize_and_capture()
    move_money(payment, "refund", 500)
    execute("payments", "UPDATE payments_payment SET check_at = now() WHERE id = %s", [payment.id])
    repeat_concurrently(8, lambda _: check_now(payment))
    assert published_events(payment.order_id)[2:] == ["payment_refunded"]
    assert get_payment(payment.order_id).refunded.amount == 500


def cancel_refused(register_provider):
    payment = authorize_and_capture(provider=register_provider(RefusingSandbox()))
    return payments.cancel(order_id=payment.order_id)


def test_staff_mark_a_refused_refund_as_made_by_other_means(register_provider):
    payment = cancel_refused(register_provider)
    tasks.mark_refunded(payment_id=payment.id, reason="Bank transfer of 3 May", actor="clerk")
    after = get_payment(payment.order_id)
    assert (after.status, after.refunded, after.attention) == ("refunded", EUR_20, None)
    assert made_refunds(payment) == [(2000, "other_means")]
    assert (balance(payment, "provider"), balance(payment, "other_means")) == (2000, -2000)
    assert audit_actions(payment) == ["mark_refunded"]
    assert read_provider_refunds(payment) == []
    with pytest.raises(tasks.NoDecisionNeeded):
        tasks.mark_refunded(payment_id=payment.id, reason="Again", actor="clerk")


def test_staff_accept_that_a_refused_refund_is_not_made(register_provider):
    payment = cancel_refused(register_provider)
    tasks.accept(payment_id=payment.id, reason="The customer took a voucher", actor="clerk")
    after = get_payment(payment.order_id)
    assert (after.status, after.attention, after.is_undone, after.refunded.amount) == ("captured", None, True, 0)
    check_now(payment)
    assert get_payment(payment.order_id) == after
    assert audit_actions(payment) == ["accept"]


def test_a_decision_needs_a_reason(register_provider):
    payment = cancel_refused(register_provider)
    for decide in (tasks.mark_refunded, tasks.accept):
        with pytest.raises(tasks.ReasonMissing):
            decide(payment_id=payment.id, reason=" ", actor="clerk")
    assert get_payment(payment.order_id).attention == "refund_refused"


def test_staff_list_and_retry_tasks_by_command(capsys):
    payment = payments.cancel(order_id=payments.capture(order_id=authorize("tok_refund_refused").order_id).order_id)
    call_command("payment_tasks")
    assert f"{payment.id}  order {payment.order_id}  refund_refused  20.00 EUR not refunded" in capsys.readouterr().out
    call_command("payment_tasks", str(payment.id), "--retry")
    assert get_payment(payment.order_id).attention == "refund_refused"
    move_money(payment, "allow")
    call_command("payment_tasks", str(payment.id), "--retry")
    assert get_payment(payment.order_id).status == "refunded"
    with pytest.raises(CommandError, match="does not wait for a decision"):
        call_command("payment_tasks", str(payment.id), "--accept", "--reason", "Too late")


def test_staff_move_money_at_the_sandbox_and_the_shop_is_notified():
    payment = authorize_and_capture()
    path = f"/api/v1/payments/sandbox/sb_{payment.id.hex}/movements"

    def ask(body, *permissions):
        client = Client(headers={"Authorization": f"Bearer {sign_access_token(*permissions)}"})
        return client.post(path, json.dumps(body), content_type="application/json")

    assert ask({"movement": "refund", "amount": 500}).status_code == 403
    assert ask({"movement": "refund", "amount": 500}, "payments.refund").json()["status"] == "captured"
    assert get_payment(payment.order_id).refunded.amount == 500
    assert ask({"movement": "refund", "notify": False}, "payments.refund").json()["status"] == "captured"
    assert read_sandbox_intent(payment)["refunded"] == 2000
    check_now(payment)
    assert get_payment(payment.order_id).status == "refunded"
    assert ask({"movement": "capture"}, "payments.refund").json()["code"] == "payments.movement_impossible"
