"""The reconciler: what is unknown becomes known, once, whoever asks and however often."""

import time

import pytest

from contexts.payments import handlers, providers
from contexts.payments.interface import NotCapturable, payments
from shop.database import changed, rows, transaction
from tests.payments.desk import (
    Beside,
    Held,
    Unsteady,
    announced,
    authorize,
    captured,
    column,
    intent,
    ledger,
    reconcile_until,
    reconciled,
    seen,
)
from tests.threads import crowd

pytestmark = pytest.mark.usefixtures("verified")


def the_provider_is_well(payment, token):
    """From now on the provider answers to what the customer paid with."""
    changed("payments", "UPDATE payments_payment SET token = %s WHERE id = %s", [token, payment.id])


def look_again(payment, times):
    tries = column(payment, "attempt")
    reconcile_until(lambda: column(payment, "attempt") >= tries + times)


def test_nothing_at_the_provider_is_no_answer_and_is_asked_for_again():
    payment = authorize("tok_error")
    look_again(payment, times=3)
    assert seen(payment.order_id).status == "unknown"
    assert (intent(payment), announced(payment.order_id)) == ({}, [])


def test_intent_that_never_arrived_is_confirmed_under_the_same_reference():
    payment = authorize("tok_error")
    the_provider_is_well(payment, "tok_ok")
    reconciled(payment.order_id, "authorized")
    assert intent(payment)["charges"] == 1
    assert announced(payment.order_id) == ["payment_authorized", "payment_resolved"]


def test_decline_found_out_later_is_announced_and_resolved():
    payment = authorize("tok_error")
    the_provider_is_well(payment, "tok_declined")
    reconciled(payment.order_id, "declined")
    assert announced(payment.order_id) == ["payment_declined", "payment_resolved"]


def test_wait_for_the_customer_found_out_later_is_resolved_so_that_the_order_can_send_them():
    payment = authorize("tok_error")
    the_provider_is_well(payment, "tok_requires_action")
    found = reconciled(payment.order_id, "requires_action")
    assert found.action.type == "redirect"
    assert announced(payment.order_id) == ["payment_resolved"]


def test_request_that_died_before_the_provider_was_called_is_carried_on():
    payment = authorize("tok_error")
    changed("payments", "UPDATE payments_payment SET status = 'processing' WHERE id = %s", [payment.id])
    the_provider_is_well(payment, "tok_ok")
    reconciled(payment.order_id, "authorized")
    assert announced(payment.order_id) == ["payment_authorized", "payment_resolved"]


def test_customer_who_waits_is_looked_at_again_and_again_without_a_word():
    payment = authorize("tok_requires_action")
    look_again(payment, times=3)
    assert (seen(payment.order_id).status, announced(payment.order_id)) == ("requires_action", [])


def test_pauses_grow_between_the_looks():
    payment = authorize("tok_error")
    pause = "SELECT extract(epoch FROM due_at - now())::float FROM payments_payment WHERE id = %s"
    [(first,)] = rows("payments", pause, [payment.id])
    changed("payments", "UPDATE payments_payment SET attempt = 100, due_at = now() WHERE id = %s", [payment.id])
    reconcile_until(lambda: column(payment, "attempt") == 101)
    [(later,)] = rows("payments", pause, [payment.id])
    assert first <= 0.05 < 4 < later <= 10


def test_ten_reconcilers_at_once_resolve_a_payment_once():
    payment = authorize("tok_timeout_then_ok")
    deadline = time.monotonic() + 10
    while seen(payment.order_id).status == "unknown":
        assert time.monotonic() < deadline
        crowd(10, lambda _: handlers.reconcile())
    assert announced(payment.order_id) == ["payment_authorized", "payment_resolved"]


@pytest.fixture
def stale(use):
    """A payment whose reconciler has fetched `authorized` and was paused before it could write that."""
    held = Held("retrieve", after=True)
    payment = authorize("tok_timeout_then_ok", provider=use(held))
    paused = Beside(lambda: reconcile_until(held.reached.is_set))
    assert held.reached.wait(10)
    return payment, held, paused


def test_what_was_fetched_before_a_cancel_is_not_written_after_it(stale):
    payment, held, paused = stale
    assert payments.cancel(order_id=payment.order_id).status == "voided"
    held.go.set()
    paused.wait()
    assert seen(payment.order_id).status == "voided"
    assert announced(payment.order_id) == ["payment_voided"]
    assert intent(payment)["status"] == "cancelled"


def test_without_the_guard_it_would_be_written(stale):
    """Negative control: the reconciler's own statement, without attempt and version."""
    payment, held, paused = stale
    payments.cancel(order_id=payment.order_id)
    try:
        with transaction("payments"):
            changed("payments", "UPDATE payments_payment SET status = 'authorized' WHERE id = %s", [payment.id])
            assert (column(payment, "status"), intent(payment)["status"]) == ("authorized", "cancelled")
            raise InterruptedError
    except InterruptedError:
        held.go.set()
    paused.wait()


def test_reconciler_that_lost_its_lease_writes_nothing(stale):
    payment, held, paused = stale
    expired = "UPDATE payments_payment SET lease_until = now() - interval '1 second', due_at = now() WHERE id = %s"
    changed("payments", expired, [payment.id])
    reconciled(payment.order_id, "authorized")
    version = column(payment, "version")
    held.go.set()
    paused.wait()
    assert column(payment, "version") == version
    assert announced(payment.order_id) == ["payment_authorized", "payment_resolved"]


def test_reconciler_writes_nothing_while_another_is_at_it(stale):
    payment, held, paused = stale
    taken = "UPDATE payments_payment SET attempt = attempt + 1, lease_until = now() + interval '1 minute' WHERE id = %s"
    changed("payments", taken, [payment.id])
    version = column(payment, "version")
    held.go.set()
    paused.wait()
    assert (seen(payment.order_id).status, column(payment, "version")) == ("unknown", version)
    changed("payments", "UPDATE payments_payment SET lease_until = now(), due_at = now() WHERE id = %s", [payment.id])
    reconciled(payment.order_id, "authorized")


def test_cancel_that_died_after_its_first_write_is_carried_on_and_nothing_is_captured():
    payment = authorize()
    changed("payments", "UPDATE payments_payment SET cancel_wanted = true, due_at = now() WHERE id = %s", [payment.id])
    with pytest.raises(NotCapturable):
        payments.capture(order_id=payment.order_id)
    reconciled(payment.order_id, "voided")
    assert intent(payment)["captures"] == 0


def test_payment_whose_provider_is_gone_waits_and_does_not_stop_the_others(use):
    name = use(Unsteady(capture=1))
    orphan = captured(provider=name)
    provider = providers.registered.pop(name)
    other = authorize("tok_timeout_then_ok")
    reconciled(other.order_id, "authorized")
    assert seen(orphan.order_id).status == "capturing"
    providers.registered[name] = provider
    reconciled(orphan.order_id, "captured")


def look(payment):
    """Have the reconciler look at a payment that it had no reason to look at."""
    changed("payments", "UPDATE payments_payment SET due_at = now() WHERE id = %s", [payment.id])
    reconcile_until(lambda: column(payment, "due_at") is None)


def at_the_provider(payment, change):
    """Something happens at the provider that the shop has not asked for."""
    changed("payments", f"UPDATE payments_sandboxintent SET {change} WHERE reference = %s", [f"sb_{payment.id.hex}"])


@pytest.mark.parametrize("end", ["declined", "voided"])
def test_money_set_aside_after_all_is_released_and_raises_the_alarm(end, logged):
    payment = authorize("tok_declined") if end == "declined" else payments.cancel(order_id=authorize().order_id)
    at_the_provider(payment, "status = 'authorized'")
    look(payment)
    assert (seen(payment.order_id).status, intent(payment)["status"]) == ("voided", "cancelled")
    assert "money_found" in logged()


def test_money_taken_after_all_is_refunded_and_raises_the_alarm(logged):
    payment = payments.cancel(order_id=authorize().order_id)
    at_the_provider(payment, "status = 'captured', captured = amount")
    look(payment)
    assert (seen(payment.order_id).status, intent(payment)["refunded"]) == ("refunded", 2000)
    assert sum(amount for _, account, amount in ledger(payment) if account == "provider") == 0
    assert len(ledger(payment)) == 4
    assert "money_found" in logged()


def test_authorization_that_the_provider_gave_up_is_voided_here_too():
    payment = authorize()
    at_the_provider(payment, "status = 'cancelled'")
    look(payment)
    assert seen(payment.order_id).status == "voided"
    assert announced(payment.order_id) == ["payment_authorized", "payment_voided", "payment_resolved"]


def test_look_at_a_payment_where_nothing_happened_changes_nothing():
    for payment in (authorize(), captured(), authorize("tok_declined"), payments.cancel(order_id=captured().order_id)):
        before = announced(payment.order_id)
        look(payment)
        assert (seen(payment.order_id), announced(payment.order_id)) == (payment, before)
