"""Refunds by staff: never more than the captured amount, and once per key."""

import threading
import time

import pytest
from django.db import IntegrityError

from contexts.payments.interface import WrongCurrency, payments
from contexts.payments.service import refunds
from shop.db.database import execute, fetch_rows, transaction
from shop.errors import NotFound
from shop.http.idempotency import IdempotencyKeyReused, Key
from shop.ids import uuid7
from shop.money import Money
from tests.concurrency import repeat_concurrently
from tests.payments.fake_providers import RefusingSandbox, SilentSandbox
from tests.payments.operations import (
    EUR_20,
    authorize,
    authorize_and_capture,
    get_payment,
    published_events,
    read_ledger,
    read_provider_refunds,
    read_sandbox_intent,
    reconcile_to_status,
)
from tests.topologies.five_processes import single_process

pytestmark = pytest.mark.usefixtures("verified")

FIVE = Money(500, "EUR")


def refund(payment, amount=None, key=None):
    return refunds.refund(payment_id=payment.id, amount=amount, reason="Broken cup", actor="clerk", key=key)


def make_key(body="a", name=""):
    return Key(scope="clerk POST /refunds", key=name or str(uuid7()), fingerprint=body)


def test_refund_in_full_ends_the_payment():
    payment = authorize_and_capture()
    assert refund(payment).status == "done"
    assert (get_payment(payment.order_id).status, get_payment(payment.order_id).refunded) == ("refunded", EUR_20)
    assert read_provider_refunds(payment) == [2000]
    assert published_events(payment.order_id)[2:] == ["payment_refunded"]


def test_partial_refunds_add_up_until_nothing_is_left():
    payment = authorize_and_capture()
    for refunded in (500, 1000, 1500):
        refund(payment, FIVE)
        assert (get_payment(payment.order_id).status, get_payment(payment.order_id).refunded.amount) == (
            "captured",
            refunded,
        )
    refund(payment, FIVE)
    assert get_payment(payment.order_id).status == "refunded"
    assert read_provider_refunds(payment) == [500] * 4
    assert sum(amount for _, account, amount in read_ledger(payment) if account == "provider") == 0


def test_a_refund_without_an_amount_refunds_the_remainder():
    payment = authorize_and_capture()
    refund(payment, FIVE)
    assert refund(payment).amount == 1500


def test_a_cancel_after_a_partial_refund_refunds_the_remainder():
    payment = authorize_and_capture()
    refund(payment, FIVE)
    assert payments.cancel(order_id=payment.order_id).refunded == EUR_20
    assert sorted(read_provider_refunds(payment)) == [500, 1500]


def test_a_refund_above_the_remainder_is_refused():
    payment = authorize_and_capture()
    refund(payment, FIVE)
    with pytest.raises(refunds.RefundTooLarge) as refused:
        refund(payment, Money(1501, "EUR"))
    assert refused.value.left == Money(1500, "EUR")
    assert str(refused.value) == "Only 15.00 EUR of this payment can still be refunded."


def test_only_a_captured_payment_can_be_refunded():
    for payment in (authorize(), authorize("tok_declined"), payments.cancel(order_id=authorize_and_capture().order_id)):
        with pytest.raises(refunds.NotRefundable):
            refund(payment)


def test_a_payment_of_zero_cannot_be_refunded():
    with pytest.raises(refunds.RefundTooLarge):
        refund(authorize_and_capture(Money(0, "EUR")))


def test_other_currencies_and_unknown_payments_are_refused():
    payment = authorize_and_capture()
    with pytest.raises(WrongCurrency) as refused:
        refund(payment, Money(500, "USD"))
    assert refused.value.facts == {"currency": "EUR", "requested": "USD"}
    with pytest.raises(NotFound):
        refunds.refund(payment_id=uuid7(), amount=None, reason="Broken cup", actor="clerk", key=None)


def test_repeated_key_is_the_same_refund():
    payment, key = authorize_and_capture(), make_key()
    assert refund(payment, FIVE, key).id == refund(payment, FIVE, key).id
    assert read_provider_refunds(payment) == [500]


def test_repeated_key_with_another_body_is_refused():
    payment, key = authorize_and_capture(), make_key("a")
    refund(payment, FIVE, key)
    with pytest.raises(IdempotencyKeyReused):
        refund(payment, EUR_20, make_key("b", key.key))


def test_a_refund_without_response_is_pending_and_completed_later(register_provider):
    payment, key = authorize_and_capture(provider=register_provider(SilentSandbox(refund=2))), make_key()
    assert refund(payment, FIVE, key).status == "pending"
    with pytest.raises(refunds.AnotherRefundRuns):
        refund(payment, FIVE, make_key())
    reconcile_to_status(payment.order_id, "captured")
    assert refund(payment, FIVE, key).status == "done"
    assert read_provider_refunds(payment) == [500]


def test_refund_that_the_provider_refuses_can_be_asked_for_again(register_provider):
    provider = RefusingSandbox()
    payment, key = authorize_and_capture(provider=register_provider(provider)), make_key()
    for _ in range(2):
        with pytest.raises(refunds.RefundRefused):
            refund(payment, FIVE, key)
    assert (get_payment(payment.order_id).status, get_payment(payment.order_id).refunded.amount) == ("captured", 0)
    provider.refuses = False
    assert refund(payment, FIVE, make_key()).status == "done"


def test_a_cancel_during_a_pending_refund_refunds_the_remainder_afterwards(register_provider):
    payment = authorize_and_capture(provider=register_provider(SilentSandbox(refund=1)))
    refund(payment, FIVE)
    assert payments.cancel(order_id=payment.order_id).refunded == EUR_20
    assert sorted(read_provider_refunds(payment)) == [500, 1500]


def test_refund_is_audited():
    payment = authorize_and_capture()
    refund(payment, FIVE)
    [(actor, action)] = fetch_rows(
        "payments", "SELECT actor, action FROM shop_auditentry WHERE object_id = %s", [str(payment.id)]
    )
    assert (actor, action) == ("clerk", "refund")


def refund_when_free(payment, amount):
    """Retry a refund until no other refund runs."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            return refund(payment, amount, make_key())
        except refunds.AnotherRefundRuns:
            time.sleep(0.005)
    raise TimeoutError


def test_fifty_concurrent_refunds_stay_within_the_capture():
    payment = authorize_and_capture()
    results = repeat_concurrently(50, lambda _: refund_when_free(payment, Money(200, "EUR")))
    done = [result for result in results if not isinstance(result, Exception)]
    refused = [result for result in results if isinstance(result, refunds.RefundTooLarge | refunds.NotRefundable)]
    assert (len(done), len(refused)) == (10, 40)
    assert (get_payment(payment.order_id).refunded.amount, read_sandbox_intent(payment)["refunded"]) == (2000, 2000)
    assert read_provider_refunds(payment) == [200] * 10


def test_fifty_requests_with_one_key_are_one_refund():
    payment, key = authorize_and_capture(), make_key()
    results = repeat_concurrently(50, lambda _: refund(payment, FIVE, key))
    assert len({result.id for result in results}) == 1
    assert read_provider_refunds(payment) == [500]


def test_control_without_the_guard_fifty_refunds_exceed_the_capture():
    """Read, then write, on a table without the constraint: negative control."""
    payment = authorize_and_capture()
    copy = "CREATE TABLE unguarded AS SELECT captured, refunded FROM payments_payment WHERE id = %s"
    execute("payments", copy, [payment.id])

    all_have_read = threading.Barrier(20)

    def read_then_write(_):
        [(remaining,)] = fetch_rows("payments", "SELECT captured - refunded FROM unguarded")
        all_have_read.wait(10)
        return remaining >= 200 and execute("payments", "UPDATE unguarded SET refunded = refunded + 200")

    try:
        repeat_concurrently(20, read_then_write)
        assert fetch_rows("payments", "SELECT refunded > captured FROM unguarded") == [(True,)]
    finally:
        execute("payments", "DROP TABLE unguarded")


@pytest.mark.parametrize(
    ("constraint", "violation"),
    [
        ("refunds_within_captured", "refunded = captured + 1"),
        ("refunds_within_captured", "pending = captured + 1"),
        ("refunds_within_captured", "pending = -1"),
        ("captured_within_authorized", "captured = authorized + 1"),
        ("captured_within_authorized", "authorized = amount + 1"),
    ],
)
def test_only_the_constraint_refuses_inconsistent_amounts(constraint, violation):
    payment = authorize_and_capture()
    statement = f"UPDATE payments_payment SET {violation} WHERE id = %s"
    with pytest.raises(IntegrityError, match=constraint):
        execute("payments", statement, [payment.id])
    with pytest.raises(InterruptedError), transaction("payments"):
        execute("payments", f"ALTER TABLE payments_payment DROP CONSTRAINT {constraint}")
        assert execute("payments", statement, [payment.id]) == 1
        raise InterruptedError


@pytest.mark.parametrize("less", ["authorized = 0, captured = 0", "captured = captured - 1"])
def test_only_the_trigger_refuses_a_lower_amount(less):
    payment = authorize_and_capture()
    statement = f"UPDATE payments_payment SET {less} WHERE id = %s"
    with pytest.raises(IntegrityError, match="amounts only grow"):
        execute("payments", statement, [payment.id])
    with pytest.raises(InterruptedError), transaction("payments"):
        execute("payments", "DROP TRIGGER amounts_only_grow ON payments_payment")
        assert execute("payments", statement, [payment.id]) == 1
        raise InterruptedError


@pytest.mark.parametrize(
    "statement", ["UPDATE payments_ledgerentry SET amount = 0", "DELETE FROM payments_ledgerentry"]
)
def test_ledger_entries_are_append_only(statement):
    authorize_and_capture()
    with pytest.raises(IntegrityError, match="append-only"):
        execute("payments", statement)


def test_ledger_sums_to_zero_by_payment_and_currency(settings):
    refund(authorize_and_capture(), FIVE)
    settings.CURRENCY = "USD"
    with single_process():
        payments.cancel(order_id=authorize_and_capture(Money(777, "USD")).order_id)
    sums = "SELECT sum(amount) FROM payments_ledgerentry GROUP BY"
    assert {total for (total,) in fetch_rows("payments", f"{sums} currency")} == {0}
    assert {total for (total,) in fetch_rows("payments", f"{sums} payment_id, booking")} == {0}


def test_the_ledger_matches_the_payments():
    wrong = """SELECT payment.id FROM payments_payment payment LEFT JOIN payments_ledgerentry entry
             ON entry.payment_id = payment.id AND entry.account = 'sales'
             GROUP BY payment.id HAVING captured - refunded <> -coalesce(sum(entry.amount), 0)"""
    assert fetch_rows("payments", wrong) == []
