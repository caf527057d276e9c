"""The checker beside a shop that runs: no false alarm, and what is young is excused."""

import threading

import pytest

from config.verify import Outage, Report, Violation, check, checker, verify
from contexts.payments.service import refunds
from shop.database import changed, rows, transaction
from shop.engine import forget
from tests.inventory.stock import stocked
from tests.orders.clockwork import reconcile, run_until_idle, sweep
from tests.payments.desk import Beside
from tests.shopper import InProcess
from tests.threads import at_once, eventually
from tests.verify.age import age
from tests.verify.watch import IN_THE_END, NOBODY_SENDS

TOKENS = ("tok_ok", "tok_declined", "tok_timeout_then_ok", "tok_capture_refused", "tok_requires_action")


def bought(shopper: InProcess, *tokens: str) -> list[dict]:
    """Orders that have come to rest, and did so a while ago."""
    sku = stocked(len(tokens))
    orders = [shopper.order(sku, token=token).body for token in tokens]
    run_until_idle()
    age(order["id"] for order in orders)
    return orders


def about(orders: list[dict], found: list[Violation]) -> list[Violation]:
    return [one for one in found if any(order["id"] in one.subject for order in orders)]


class Traffic:
    """Old orders are called off and refunded, new ones placed, and everything is looked at again and again."""

    def __init__(self) -> None:
        self.shopper, self.sku, self.over = InProcess(), stocked(100), threading.Event()
        self.to_cancel, self.to_refund = bought(self.shopper, *["tok_ok"] * 12), bought(self.shopper, *["tok_ok"] * 12)
        self.orders = [order["id"] for order in self.to_cancel + self.to_refund]
        self.reports: list[Report] = []

    def customers_and_staff(self) -> None:
        answers = at_once(self.buy, self.buy, self.cancel, self.refund)
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
            [(payment,)] = rows("payments", "SELECT id FROM payments_payment WHERE order_id = %s", [order["id"]])
            refunds.refund(payment_id=payment, amount=None, reason="A gift.", actor="clerk", key=None)

    def engine(self) -> None:
        while not self.over.is_set():
            run_until_idle()
            sweep()
            reconcile()

    def verifier(self) -> None:
        while not self.over.is_set() or len(self.reports) < 2:
            self.reports.append(verify())


def test_no_false_alarm_beside_traffic():
    traffic = Traffic()
    before = {(found.invariant, found.subject) for found in check()}
    assert at_once(traffic.customers_and_staff, traffic.engine, traffic.verifier) == [None] * 3
    alarms = {(one.invariant, one.subject) for report in traffic.reports for one in report.violations} - before
    assert [alarm for alarm in alarms if is_about(alarm, traffic.orders)] == []
    assert all(report.looked["confirmed_is_paid"] for report in traffic.reports)


def is_about(alarm: tuple[str, str], orders: list[str]) -> bool:
    """Leave out what other tests left behind and time has made overdue; and mail, which nobody sends here."""
    invariant, subject = alarm
    return invariant not in IN_THE_END or (invariant != NOBODY_SENDS and any(order in subject for order in orders))


UNPAID = "UPDATE payments_payment SET status = %s WHERE order_id = %s"
UNTOLD = "UPDATE notifications_message SET template = %s WHERE order_id = %s"
UNSENT = "UPDATE shop_delivery SET acknowledged_at = {} WHERE stream = %s AND subscriber = 'inventory'"


@pytest.mark.parametrize(
    ("invariant", "token", "context", "sql", "was", "becomes"),
    [
        ("confirmed_is_paid", "tok_capture_refused", "payments", UNPAID, "capture_refused", "voided"),
        ("customer_was_told", "tok_ok", "notifications", UNTOLD, "order_confirmed", "order_rejected"),
    ],
)
def test_what_is_young_is_excused_and_what_is_old_is_not(invariant, token, context, sql, was, becomes):
    order = InProcess().order(stocked(1), token=token).body
    run_until_idle()
    changed(context, sql, [becomes, order["id"]])
    assert about([order], check()) == []
    assert [found.invariant for found in about([order], check(at_rest=True))] == [invariant]
    age([order["id"]])
    assert [found.invariant for found in about([order], check())] == [invariant]
    changed(context, sql, [was, order["id"]])
    assert about([order], check()) == []


def test_a_fact_that_is_young_may_still_be_on_its_way():
    [order] = bought(InProcess(), "tok_ok")
    stream = f"orders.order:{order['id']}"
    changed("orders", UNSENT.format("NULL"), [stream])
    assert [found.invariant for found in about([order], check())] == ["facts_are_delivered"]
    changed("orders", "UPDATE shop_outboxevent SET occurred_at = now() WHERE stream = %s", [stream])
    assert about([order], check()) == []
    changed("orders", UNSENT.format("now()"), [stream])


@pytest.mark.parametrize("by", ["28 days 12 hours", "29 days 12 hours", "40 days"])
def test_what_the_shop_forgets_with_time_is_not_missed(by):
    [order] = bought(InProcess(), "tok_ok")
    age([order["id"]], by)
    assert about([order], check(at_rest=True)) == []
    forget()
    assert about([order], check(at_rest=True)) == []
    kept = rows("orders", "SELECT count(*) FROM shop_outboxevent WHERE stream = %s", [f"orders.order:{order['id']}"])
    assert kept == [(0 if by == "40 days" else 3,)]


def test_a_lease_beyond_all_measure_hides_nothing():
    [order] = bought(InProcess(), "tok_requires_action")
    leased = "UPDATE orders_order SET due_at = now() - %s::interval, lease_until = %s WHERE id = %s"
    changed("orders", leased, ["1 hour", "2999-01-01", order["id"]])
    assert [found.invariant for found in about([order], check())] == ["order_comes_to_rest"]
    changed("orders", leased, ["0 hours", None, order["id"]])


def test_a_context_that_is_not_here_is_refused():
    with pytest.raises(ValueError, match="warehouse"):
        check(contexts=["warehouse"])
    with pytest.raises(ValueError, match="nothing"):
        check(contexts=[])


def keep_orders_waiting(held: threading.Event, let_go: threading.Event) -> None:
    """Whoever wants to read the table of orders waits."""
    with transaction("orders"):
        changed("orders", "SET LOCAL idle_in_transaction_session_timeout = 0; LOCK TABLE orders_order")
        held.set()
        let_go.wait(20)


def looked_at_between(*, mended: bool) -> tuple[list[str], int]:
    """A payment is wrong as payments are read, and mended or not before orders are: what is found, what was suspected."""
    [order] = bought(InProcess(), "tok_capture_refused")
    changed("payments", UNPAID, ["voided", order["id"]])
    held, let_go = threading.Event(), threading.Event()
    keeper = Beside(lambda: keep_orders_waiting(held, let_go))
    assert held.wait(10)
    verifier = Beside(verify)
    try:
        waits = "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'orders_order'::regclass"
        eventually(lambda: rows("orders", waits))
        if mended:
            changed("payments", UNPAID, ["capture_refused", order["id"]])
    finally:
        let_go.set()
        keeper.wait()
    report = verifier.wait()
    changed("payments", UNPAID, ["capture_refused", order["id"]])
    return [found.invariant for found in about([order], report.violations)], report.suspected


def test_a_mismatch_of_two_instants_is_suspected_and_not_reported():
    found, suspected = looked_at_between(mended=True)
    assert found == []
    assert suspected, "one look would have been a false alarm"


def test_control_a_mismatch_that_is_still_there_is_reported():
    found, suspected = looked_at_between(mended=False)
    assert found == ["confirmed_is_paid"]
    assert suspected


def test_it_reads_one_instant_and_cannot_write():
    with checker._reading("orders"):
        [(isolation, read_only)] = rows(
            "orders", "SELECT current_setting('transaction_isolation'), current_setting('transaction_read_only')"
        )
    assert (isolation, read_only) == ("repeatable read", "on")
    with pytest.raises(Outage, match="read-only transaction"), checker._reading("orders"):
        changed("orders", "DELETE FROM orders_cart")
