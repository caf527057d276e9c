"""The verifier on a running shop: it reports no false violation, and excuses recent changes."""

import threading

import pytest

from contexts.payments.service import refunds
from ops.verify import DatabaseUnreadable, Report, Violation, check, checker, verify
from shop.db.database import execute, fetch_rows, hosted_contexts, transaction
from shop.purging import purge_now
from tests.concurrency import eventually, run_concurrently
from tests.engine_driver import run_checkout_timers, run_payment_timers, run_until_idle
from tests.factories import create_sku
from tests.ops.verify.backdating import backdate
from tests.ops.verify.invariant_watch import EVENTUAL_INVARIANTS, MAIL_INVARIANT
from tests.payments.operations import BackgroundTask
from tests.shopper import InProcessShopper

TOKENS = ("tok_ok", "tok_declined", "tok_timeout_then_ok", "tok_capture_refused", "tok_requires_action")


def place_settled_orders(shopper: InProcessShopper, *tokens: str) -> list[dict]:
    """Place orders, run the engine until they are settled, and move them into the past."""
    sku = create_sku(len(tokens))
    orders = [shopper.buy(sku, token=token) for token in tokens]
    run_until_idle()
    backdate(order["id"] for order in orders)
    return orders


def violations_about(orders: list[dict], found: list[Violation]) -> list[Violation]:
    return [one for one in found if any(order["id"] in one.subject for order in orders)]


class Traffic:
    """Cancel and refund settled orders and place new ones, while the verifier runs in a loop."""

    def __init__(self) -> None:
        self.shopper, self.sku, self.over = InProcessShopper(), create_sku(100), threading.Event()
        self.to_cancel, self.to_refund = (
            place_settled_orders(self.shopper, *["tok_ok"] * 12),
            place_settled_orders(self.shopper, *["tok_ok"] * 12),
        )
        self.orders = [order["id"] for order in self.to_cancel + self.to_refund]
        self.reports: list[Report] = []

    def customers_and_staff(self) -> None:
        answers = run_concurrently(self.buy, self.buy, self.cancel, self.refund)
        self.over.set()
        assert answers == [None] * 4

    def buy(self) -> None:
        for number in range(12):
            answer = self.shopper.order(self.sku, token=TOKENS[number % len(TOKENS)]).body
            self.orders.append(answer.get("id") or answer["facts"]["order_id"])

    def cancel(self) -> None:
        for order in self.to_cancel:
            self.shopper.post(f"orders/{order['id']}/cancel", X_Order_Token=order["token"])

    def refund(self) -> None:
        for order in self.to_refund:
            [(payment,)] = fetch_rows("payments", "SELECT id FROM payments_payment WHERE order_id = %s", [order["id"]])
            refunds.refund(payment_id=payment, amount=None, reason="Goodwill", actor="clerk", key=None)

    def engine(self) -> None:
        while not self.over.is_set():
            run_until_idle()
            run_checkout_timers()
            run_payment_timers()

    def verifier(self) -> None:
        while not self.over.is_set() or len(self.reports) < 2:
            self.reports.append(verify())


def test_no_false_alarm_under_traffic():
    traffic = Traffic()
    before = {(found.invariant, found.subject) for found in check()}
    assert run_concurrently(traffic.customers_and_staff, traffic.engine, traffic.verifier) == [None] * 3
    alarms = {(one.invariant, one.subject) for report in traffic.reports for one in report.violations} - before
    assert [alarm for alarm in alarms if is_alarm_about(alarm, traffic.orders)] == []
    assert all(report.checked_counts["confirmed_is_paid"] for report in traffic.reports)


def is_alarm_about(alarm: tuple[str, str], orders: list[str]) -> bool:
    """Ignore overdue work of other tests, and mail, which is not sent here."""
    invariant, subject = alarm
    return invariant not in EVENTUAL_INVARIANTS or (
        invariant != MAIL_INVARIANT and any(order in subject for order in orders)
    )


SET_PAYMENT_STATUS_SQL = "UPDATE payments_payment SET status = %s WHERE order_id = %s"
SET_TEMPLATE_SQL = "UPDATE notifications_message SET template = %s WHERE order_id = %s"
SET_ACKNOWLEDGED_SQL = "UPDATE shop_delivery SET acknowledged_at = {} WHERE stream = %s AND subscriber = 'inventory'"


@pytest.mark.parametrize(
    ("invariant", "token", "context", "sql", "was", "becomes"),
    [
        ("confirmed_is_paid", "tok_capture_refused", "payments", SET_PAYMENT_STATUS_SQL, "capture_refused", "voided"),
        ("customer_was_told", "tok_ok", "notifications", SET_TEMPLATE_SQL, "order_confirmed", "order_rejected"),
    ],
)
def test_a_recent_violation_is_excused_and_an_old_one_is_not(invariant, token, context, sql, was, becomes):
    order = InProcessShopper().buy(create_sku(1), token=token)
    run_until_idle()
    execute(context, sql, [becomes, order["id"]])
    assert violations_about([order], check()) == []
    assert [found.invariant for found in violations_about([order], check(is_idle=True))] == [invariant]
    backdate([order["id"]])
    assert [found.invariant for found in violations_about([order], check())] == [invariant]
    execute(context, sql, [was, order["id"]])
    assert violations_about([order], check()) == []


def test_an_order_may_wait_for_its_capture_for_the_grace_period_only():
    order = InProcessShopper().order(create_sku(1)).body
    assert violations_about([order], check()) == []
    backdate([order["id"]])
    execute("orders", "UPDATE orders_order SET due_at = now() + interval '1 minute' WHERE id = %s", [order["id"]])
    details = {found.invariant: found.detail for found in violations_about([order], check())}
    assert "confirmed and still capturing" in details.get("order_comes_to_rest", "")
    execute("orders", "UPDATE orders_order SET due_at = now() WHERE id = %s", [order["id"]])
    run_until_idle()
    assert violations_about([order], check()) == []


def test_a_recent_event_may_be_undelivered():
    [order] = place_settled_orders(InProcessShopper(), "tok_ok")
    stream = f"orders.order:{order['id']}"
    execute("orders", SET_ACKNOWLEDGED_SQL.format("NULL"), [stream])
    assert [found.invariant for found in violations_about([order], check())] == ["facts_are_delivered"]
    execute("orders", "UPDATE shop_outboxevent SET occurred_at = now() WHERE stream = %s", [stream])
    assert violations_about([order], check()) == []
    execute("orders", SET_ACKNOWLEDGED_SQL.format("now()"), [stream])


@pytest.mark.parametrize("by", ["28 days 12 hours", "29 days 12 hours", "40 days"])
def test_purged_rows_are_not_violations(by):
    [order] = place_settled_orders(InProcessShopper(), "tok_ok")
    backdate([order["id"]], by)
    assert violations_about([order], check(is_idle=True)) == []
    for context in hosted_contexts():
        purge_now(context)
    assert violations_about([order], check(is_idle=True)) == []
    kept = fetch_rows(
        "orders", "SELECT count(*) FROM shop_outboxevent WHERE stream = %s", [f"orders.order:{order['id']}"]
    )
    assert kept == [(0 if by == "40 days" else 3,)]


def test_an_endless_lease_does_not_hide_a_violation():
    [order] = place_settled_orders(InProcessShopper(), "tok_requires_action")
    leased = "UPDATE orders_order SET due_at = now() - %s::interval, lease_until = %s WHERE id = %s"
    execute("orders", leased, ["1 hour", "2999-01-01", order["id"]])
    assert [found.invariant for found in violations_about([order], check())] == ["order_comes_to_rest"]
    execute("orders", leased, ["0 hours", None, order["id"]])


def test_an_unknown_context_is_refused():
    with pytest.raises(ValueError, match="warehouse"):
        check(contexts=["warehouse"])
    with pytest.raises(ValueError, match="nothing"):
        check(contexts=[])


def lock_orders(locked: threading.Event, release: threading.Event) -> None:
    """Lock the table of orders, so that the verifier waits before it reads it."""
    with transaction("orders"):
        execute("orders", "SET LOCAL idle_in_transaction_session_timeout = 0; LOCK TABLE orders_order")
        locked.set()
        release.wait(20)


def verify_during_change(*, repaired: bool) -> tuple[list[str], int]:
    """Corrupt a payment before payments are read, and repair it or not before orders are read.

    Return the invariants that are violated, and the number of suspected mismatches.
    """
    [order] = place_settled_orders(InProcessShopper(), "tok_capture_refused")
    execute("payments", SET_PAYMENT_STATUS_SQL, ["voided", order["id"]])
    locked, release = threading.Event(), threading.Event()
    locker = BackgroundTask(lambda: lock_orders(locked, release))
    assert locked.wait(10)
    verifier = BackgroundTask(verify)
    try:
        waiting = "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'orders_order'::regclass"
        eventually(lambda: fetch_rows("orders", waiting))
        if repaired:
            execute("payments", SET_PAYMENT_STATUS_SQL, ["capture_refused", order["id"]])
    finally:
        release.set()
        locker.wait()
    report = verifier.wait()
    execute("payments", SET_PAYMENT_STATUS_SQL, ["capture_refused", order["id"]])
    return [found.invariant for found in violations_about([order], report.violations)], report.suspected_count


def test_a_mismatch_of_two_instants_is_suspected_and_not_reported():
    found, suspected = verify_during_change(repaired=True)
    assert found == []
    assert suspected, "a single read would have reported a false violation"


def test_control_a_lasting_mismatch_is_reported():
    found, suspected = verify_during_change(repaired=False)
    assert found == ["confirmed_is_paid"]
    assert suspected


def test_the_checker_reads_one_snapshot_and_cannot_write():
    with checker._open_read_transaction("orders"):
        [(isolation, read_only)] = fetch_rows(
            "orders", "SELECT current_setting('transaction_isolation'), current_setting('transaction_read_only')"
        )
    assert (isolation, read_only) == ("repeatable read", "on")
    with pytest.raises(DatabaseUnreadable, match="read-only transaction"), checker._open_read_transaction("orders"):
        execute("orders", "DELETE FROM orders_cart")
