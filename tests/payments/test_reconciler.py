"""The reconciler: an unknown outcome is resolved once, however many workers ask."""

import time

import pytest

from contexts.payments import handlers, providers
from contexts.payments.interface import NotCapturable, payments
from shop.db.database import execute, fetch_rows, transaction
from tests.concurrency import repeat_concurrently
from tests.payments.fake_providers import PausedSandbox, SilentSandbox
from tests.payments.operations import (
    BackgroundTask,
    authorize,
    authorize_and_capture,
    get_payment,
    published_events,
    read_column,
    read_ledger,
    read_sandbox_intent,
    reconcile_to_status,
    reconcile_until,
)

pytestmark = pytest.mark.usefixtures("verified")


def restore_provider(payment, token):
    """Replace the token, so that the provider answers from now on."""
    execute("payments", "UPDATE payments_payment SET token = %s WHERE id = %s", [token, payment.id])


def reconcile_times(payment, times):
    """Run the reconciler until it has processed the payment this many times more."""
    tries = read_column(payment, "attempt")
    reconcile_until(lambda: read_column(payment, "attempt") >= tries + times)


def test_an_intent_missing_at_the_provider_stays_unknown_and_is_retried():
    payment = authorize("tok_error")
    reconcile_times(payment, times=3)
    assert get_payment(payment.order_id).status == "unknown"
    assert (read_sandbox_intent(payment), published_events(payment.order_id)) == ({}, [])


def test_intent_that_never_arrived_is_confirmed_under_the_same_reference():
    payment = authorize("tok_error")
    restore_provider(payment, "tok_ok")
    reconcile_to_status(payment.order_id, "authorized")
    assert read_sandbox_intent(payment)["charges"] == 1
    assert published_events(payment.order_id) == ["payment_authorized", "payment_resolved"]


def test_a_decline_found_later_is_published_and_resolved():
    payment = authorize("tok_error")
    restore_provider(payment, "tok_declined")
    reconcile_to_status(payment.order_id, "declined")
    assert published_events(payment.order_id) == ["payment_declined", "payment_resolved"]


def test_a_required_action_found_later_is_published():
    payment = authorize("tok_error")
    restore_provider(payment, "tok_requires_action")
    found = reconcile_to_status(payment.order_id, "requires_action")
    assert found.action.type == "redirect"
    assert published_events(payment.order_id) == ["payment_resolved"]


def test_a_request_that_died_before_the_provider_call_is_resumed():
    payment = authorize("tok_error")
    execute("payments", "UPDATE payments_payment SET status = 'processing' WHERE id = %s", [payment.id])
    restore_provider(payment, "tok_ok")
    reconcile_to_status(payment.order_id, "authorized")
    assert published_events(payment.order_id) == ["payment_authorized", "payment_resolved"]


def test_a_payment_waiting_for_its_customer_is_polled_without_events():
    payment = authorize("tok_requires_action")
    reconcile_times(payment, times=3)
    assert (get_payment(payment.order_id).status, published_events(payment.order_id)) == ("requires_action", [])


def test_pauses_between_retries_grow():
    payment = authorize("tok_error")
    pause = "SELECT extract(epoch FROM due_at - now())::float FROM payments_payment WHERE id = %s"
    [(first,)] = fetch_rows("payments", pause, [payment.id])
    execute("payments", "UPDATE payments_payment SET attempt = 100, due_at = now() WHERE id = %s", [payment.id])
    reconcile_until(lambda: read_column(payment, "attempt") == 101)
    [(later,)] = fetch_rows("payments", pause, [payment.id])
    assert first <= 0.05 < 4 < later <= 10


def test_ten_concurrent_reconcilers_resolve_a_payment_once():
    payment = authorize("tok_timeout_then_ok")
    deadline = time.monotonic() + 10
    while get_payment(payment.order_id).status == "unknown":
        assert time.monotonic() < deadline
        repeat_concurrently(10, lambda _: handlers.reconcile())
    assert published_events(payment.order_id) == ["payment_authorized", "payment_resolved"]


@pytest.fixture
def stale_response(register_provider):
    """Return a payment, its paused provider and the reconciler that has fetched `authorized` but not written it yet."""
    provider = PausedSandbox("retrieve", after=True)
    payment = authorize("tok_timeout_then_ok", provider=register_provider(provider))
    paused = BackgroundTask(lambda: reconcile_until(provider.call_reached.is_set))
    assert provider.call_reached.wait(10)
    return payment, provider, paused


def test_a_response_fetched_before_a_cancel_is_not_written_after_it(stale_response):
    payment, provider, paused = stale_response
    assert payments.cancel(order_id=payment.order_id).status == "voided"
    provider.resume.set()
    paused.wait()
    assert get_payment(payment.order_id).status == "voided"
    assert published_events(payment.order_id) == ["payment_voided"]
    assert read_sandbox_intent(payment)["status"] == "cancelled"


def test_control_without_the_guard_a_stale_response_is_written(stale_response):
    """Write unconditionally, without attempt and version: negative control."""
    payment, provider, paused = stale_response
    payments.cancel(order_id=payment.order_id)
    try:
        with transaction("payments"):
            execute("payments", "UPDATE payments_payment SET status = 'authorized' WHERE id = %s", [payment.id])
            assert (read_column(payment, "status"), read_sandbox_intent(payment)["status"]) == (
                "authorized",
                "cancelled",
            )
            raise InterruptedError
    except InterruptedError:
        provider.resume.set()
    paused.wait()


def test_reconciler_that_lost_its_lease_writes_nothing(stale_response):
    payment, provider, paused = stale_response
    expired = "UPDATE payments_payment SET lease_until = now() - interval '1 second', due_at = now() WHERE id = %s"
    execute("payments", expired, [payment.id])
    reconcile_to_status(payment.order_id, "authorized")
    version = read_column(payment, "version")
    provider.resume.set()
    paused.wait()
    assert read_column(payment, "version") == version
    assert published_events(payment.order_id) == ["payment_authorized", "payment_resolved"]


def test_a_reconciler_writes_nothing_while_another_holds_the_lease(stale_response):
    payment, provider, paused = stale_response
    taken = "UPDATE payments_payment SET attempt = attempt + 1, lease_until = now() + interval '1 minute' WHERE id = %s"
    execute("payments", taken, [payment.id])
    version = read_column(payment, "version")
    provider.resume.set()
    paused.wait()
    assert (get_payment(payment.order_id).status, read_column(payment, "version")) == ("unknown", version)
    execute("payments", "UPDATE payments_payment SET lease_until = now(), due_at = now() WHERE id = %s", [payment.id])
    reconcile_to_status(payment.order_id, "authorized")


def test_a_cancel_that_died_after_its_first_write_is_resumed_and_captures_nothing():
    payment = authorize()
    execute("payments", "UPDATE payments_payment SET cancel_wanted = true, due_at = now() WHERE id = %s", [payment.id])
    with pytest.raises(NotCapturable):
        payments.capture(order_id=payment.order_id)
    reconcile_to_status(payment.order_id, "voided")
    assert read_sandbox_intent(payment)["captures"] == 0


def test_a_payment_without_its_provider_waits_and_does_not_block_others(register_provider):
    name = register_provider(SilentSandbox(capture=1))
    orphan = authorize_and_capture(provider=name)
    provider = providers.registry.pop(name)
    other = authorize("tok_timeout_then_ok")
    reconcile_to_status(other.order_id, "authorized")
    assert get_payment(orphan.order_id).status == "capturing"
    providers.registry[name] = provider
    reconcile_to_status(orphan.order_id, "captured")


def reconcile_once(payment):
    """Make a payment due and let the reconciler process it."""
    execute("payments", "UPDATE payments_payment SET due_at = now() WHERE id = %s", [payment.id])
    reconcile_until(lambda: read_column(payment, "due_at") is None)


def change_at_provider(payment, change):
    """Change an intent at the provider without a request of the shop."""
    execute("payments", f"UPDATE payments_sandboxintent SET {change} WHERE reference = %s", [f"sb_{payment.id.hex}"])


@pytest.mark.parametrize("end", ["declined", "voided"])
def test_a_late_authorization_is_voided_and_raises_an_alarm(end, error_log):
    payment = authorize("tok_declined") if end == "declined" else payments.cancel(order_id=authorize().order_id)
    change_at_provider(payment, "status = 'authorized'")
    reconcile_once(payment)
    assert (get_payment(payment.order_id).status, read_sandbox_intent(payment)["status"]) == ("voided", "cancelled")
    assert "money_found" in error_log()


def test_a_late_capture_is_refunded_and_raises_an_alarm(error_log):
    payment = payments.cancel(order_id=authorize().order_id)
    change_at_provider(payment, "status = 'captured', captured = amount")
    reconcile_once(payment)
    assert (get_payment(payment.order_id).status, read_sandbox_intent(payment)["refunded"]) == ("refunded", 2000)
    assert sum(amount for _, account, amount in read_ledger(payment) if account == "provider") == 0
    assert len(read_ledger(payment)) == 4
    assert "money_found" in error_log()


def test_an_authorization_expired_at_the_provider_is_voided():
    payment = authorize()
    change_at_provider(payment, "status = 'cancelled'")
    reconcile_once(payment)
    assert get_payment(payment.order_id).status == "voided"
    assert published_events(payment.order_id) == ["payment_authorized", "payment_voided", "payment_resolved"]


def test_reconciling_an_unchanged_payment_changes_nothing():
    for payment in (
        authorize(),
        authorize_and_capture(),
        authorize("tok_declined"),
        payments.cancel(order_id=authorize_and_capture().order_id),
    ):
        before = published_events(payment.order_id)
        reconcile_once(payment)
        assert (get_payment(payment.order_id), published_events(payment.order_id)) == (payment, before)
