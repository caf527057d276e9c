"""Refunds by staff: never more than was captured, once per key."""

import threading
import time

import pytest
from django.db import IntegrityError

from contexts.payments.interface import payments
from contexts.payments.service import refunds
from shop.database import changed, rows, transaction
from shop.errors import NotFound
from shop.idempotency import IdempotencyKeyReused, Key
from shop.ids import uuid7
from shop.money import Money
from tests.payments.desk import (
    EUR_20,
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

FIVE = Money(500, "EUR")


def refund(payment, amount=None, key=None):
    return refunds.refund(payment_id=payment.id, amount=amount, reason="Broken cup", actor="clerk", key=key)


def a_key(body="a", name=""):
    return Key(scope="clerk POST /refunds", key=name or str(uuid7()), fingerprint=body)


def test_refund_in_full_ends_the_payment():
    payment = captured()
    assert refund(payment).status == "done"
    assert (seen(payment.order_id).status, seen(payment.order_id).refunded) == ("refunded", EUR_20)
    assert provider_refunds(payment) == [2000]
    assert announced(payment.order_id)[2:] == ["payment_refunded"]


def test_partial_refunds_add_up_until_nothing_is_left():
    payment = captured()
    for given_back in (500, 1000, 1500):
        refund(payment, FIVE)
        assert (seen(payment.order_id).status, seen(payment.order_id).refunded.amount) == ("captured", given_back)
    refund(payment, FIVE)
    assert seen(payment.order_id).status == "refunded"
    assert provider_refunds(payment) == [500] * 4
    assert sum(amount for _, account, amount in ledger(payment) if account == "provider") == 0


def test_refund_without_an_amount_gives_back_what_is_left():
    payment = captured()
    refund(payment, FIVE)
    assert refund(payment).amount == 1500


def test_cancel_after_a_partial_refund_gives_back_what_is_left():
    payment = captured()
    refund(payment, FIVE)
    assert payments.cancel(order_id=payment.order_id).refunded == EUR_20
    assert sorted(provider_refunds(payment)) == [500, 1500]


def test_more_than_is_left_is_refused():
    payment = captured()
    refund(payment, FIVE)
    with pytest.raises(refunds.RefundTooLarge) as refused:
        refund(payment, Money(1501, "EUR"))
    assert refused.value.left == Money(1500, "EUR")
    assert str(refused.value) == "Only 15.00 EUR of this payment can still be refunded."


def test_what_is_not_captured_cannot_be_refunded():
    for payment in (authorize(), authorize("tok_declined"), payments.cancel(order_id=captured().order_id)):
        with pytest.raises(refunds.NotRefundable):
            refund(payment)


def test_nothing_can_be_refunded_of_nothing():
    with pytest.raises(refunds.RefundTooLarge):
        refund(captured(Money(0, "EUR")))


def test_other_currencies_and_unknown_payments_are_refused():
    payment = captured()
    with pytest.raises(refunds.WrongCurrency):
        refund(payment, Money(500, "USD"))
    with pytest.raises(NotFound):
        refunds.refund(payment_id=uuid7(), amount=None, reason="Broken cup", actor="clerk", key=None)


def test_repeated_key_is_the_same_refund():
    payment, key = captured(), a_key()
    assert refund(payment, FIVE, key).id == refund(payment, FIVE, key).id
    assert provider_refunds(payment) == [500]


def test_repeated_key_with_another_body_is_refused():
    payment, key = captured(), a_key("a")
    refund(payment, FIVE, key)
    with pytest.raises(IdempotencyKeyReused):
        refund(payment, EUR_20, a_key("b", key.key))


def test_refund_that_is_not_answered_is_pending_and_done_later(use):
    payment, key = captured(provider=use(Unsteady(refund=2))), a_key()
    assert refund(payment, FIVE, key).status == "pending"
    with pytest.raises(refunds.AnotherRefundRuns):
        refund(payment, FIVE, a_key())
    reconciled(payment.order_id, "captured")
    assert refund(payment, FIVE, key).status == "done"
    assert provider_refunds(payment) == [500]


def test_refund_that_the_provider_refuses_can_be_asked_for_again(use):
    provider = Refusing()
    payment, key = captured(provider=use(provider)), a_key()
    for _ in range(2):
        with pytest.raises(refunds.RefundRefused):
            refund(payment, FIVE, key)
    assert (seen(payment.order_id).status, seen(payment.order_id).refunded.amount) == ("captured", 0)
    provider.refuses = False
    assert refund(payment, FIVE, a_key()).status == "done"


def test_cancel_during_an_unanswered_refund_gives_back_the_rest_after_it(use):
    payment = captured(provider=use(Unsteady(refund=1)))
    refund(payment, FIVE)
    assert payments.cancel(order_id=payment.order_id).refunded == EUR_20
    assert sorted(provider_refunds(payment)) == [500, 1500]


def test_refund_is_audited():
    payment = captured()
    refund(payment, FIVE)
    [(actor, action)] = rows(
        "payments", "SELECT actor, action FROM shop_auditentry WHERE object_id = %s", [str(payment.id)]
    )
    assert (actor, action) == ("clerk", "refund")


def keep_asking(payment, amount):
    """Refund as soon as no other refund runs."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            return refund(payment, amount, a_key())
        except refunds.AnotherRefundRuns:
            time.sleep(0.005)
    raise TimeoutError


def test_fifty_refunds_at_once_stay_within_what_was_captured():
    payment = captured()
    results = crowd(50, lambda _: keep_asking(payment, Money(200, "EUR")))
    done = [result for result in results if not isinstance(result, Exception)]
    refused = [result for result in results if isinstance(result, refunds.RefundTooLarge | refunds.NotRefundable)]
    assert (len(done), len(refused)) == (10, 40)
    assert (seen(payment.order_id).refunded.amount, intent(payment)["refunded"]) == (2000, 2000)
    assert provider_refunds(payment) == [200] * 10


def test_fifty_requests_with_one_key_are_one_refund():
    payment, key = captured(), a_key()
    results = crowd(50, lambda _: refund(payment, FIVE, key))
    assert len({result.id for result in results}) == 1
    assert provider_refunds(payment) == [500]


def test_without_the_guard_fifty_refunds_would_exceed_what_was_captured():
    """Negative control: look first, then write, on a table without the constraint."""
    payment = captured()
    copy = "CREATE TABLE unguarded AS SELECT captured, refunded FROM payments_payment WHERE id = %s"
    changed("payments", copy, [payment.id])

    all_have_looked = threading.Barrier(20)

    def look_then_write(_):
        [(left,)] = rows("payments", "SELECT captured - refunded FROM unguarded")
        all_have_looked.wait(10)
        return left >= 200 and changed("payments", "UPDATE unguarded SET refunded = refunded + 200")

    try:
        crowd(20, look_then_write)
        assert rows("payments", "SELECT refunded > captured FROM unguarded") == [(True,)]
    finally:
        changed("payments", "DROP TABLE unguarded")


@pytest.mark.parametrize(
    ("constraint", "beyond"),
    [
        ("refunds_within_captured", "refunded = captured + 1"),
        ("refunds_within_captured", "pending = captured + 1"),
        ("refunds_within_captured", "pending = -1"),
        ("captured_within_authorized", "captured = authorized + 1"),
        ("captured_within_authorized", "authorized = amount + 1"),
    ],
)
def test_the_database_refuses_amounts_beyond_each_other_and_only_its_constraint_does(constraint, beyond):
    payment = captured()
    statement = f"UPDATE payments_payment SET {beyond} WHERE id = %s"
    with pytest.raises(IntegrityError, match=constraint):
        changed("payments", statement, [payment.id])
    with pytest.raises(InterruptedError), transaction("payments"):
        changed("payments", f"ALTER TABLE payments_payment DROP CONSTRAINT {constraint}")
        assert changed("payments", statement, [payment.id]) == 1
        raise InterruptedError


@pytest.mark.parametrize("less", ["authorized = 0, captured = 0", "captured = captured - 1"])
def test_the_database_lets_no_amount_shrink_and_only_its_trigger_does(less):
    payment = captured()
    statement = f"UPDATE payments_payment SET {less} WHERE id = %s"
    with pytest.raises(IntegrityError, match="amounts only grow"):
        changed("payments", statement, [payment.id])
    with pytest.raises(InterruptedError), transaction("payments"):
        changed("payments", "DROP TRIGGER amounts_only_grow ON payments_payment")
        assert changed("payments", statement, [payment.id]) == 1
        raise InterruptedError


@pytest.mark.parametrize("statement", ["UPDATE payments_ledgerentry SET amount = 0", "DELETE FROM payments_ledgerentry"])
def test_what_is_booked_stays_booked(statement):
    captured()
    with pytest.raises(IntegrityError, match="append-only"):
        changed("payments", statement)


def test_ledger_sums_to_zero_by_payment_and_currency():
    refund(captured(), FIVE)
    payments.cancel(order_id=captured(Money(777, "USD")).order_id)
    sums = "SELECT sum(amount) FROM payments_ledgerentry GROUP BY"
    assert {total for (total,) in rows("payments", f"{sums} currency")} == {0}
    assert {total for (total,) in rows("payments", f"{sums} payment_id, booking")} == {0}


def test_ledger_says_what_the_payments_say():
    off = """SELECT payment.id FROM payments_payment payment LEFT JOIN payments_ledgerentry entry
             ON entry.payment_id = payment.id AND entry.account = 'provider'
             GROUP BY payment.id HAVING captured - refunded <> coalesce(sum(entry.amount), 0)"""
    assert rows("payments", off) == []
