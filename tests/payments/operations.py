"""Helpers of the payment tests: pay, and read payments, events, the ledger and the sandbox's tables."""

import threading
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.db import connections

from contexts.payments.interface import Payment, PaymentMethod, payments
from contexts.payments.providers import sandbox
from shop.db.database import execute, fetch_rows
from shop.ids import uuid7
from shop.money import Money
from tests.concurrency import eventually
from tests.engine_driver import run_payment_timers

EUR_20 = Money(2000, "EUR")


def authorize(token: str = "tok_ok", *, amount: Money = EUR_20, provider: str = "sandbox") -> Payment:
    """Authorize the payment of a new order."""
    return payments.authorize(order_id=uuid7(), amount=amount, method=PaymentMethod(provider=provider, token=token))


def authorize_and_capture(amount: Money = EUR_20, provider: str = "sandbox") -> Payment:
    """Authorize and capture the payment of a new order."""
    return payments.capture(order_id=authorize(amount=amount, provider=provider).order_id)


def get_payment(order_id: UUID) -> Payment:
    """Return the payment as other contexts see it."""
    [payment] = payments.of_orders(order_ids=(order_id,))
    return payment


def published_events(order_id: UUID) -> list[str]:
    """Return the short names of the events of an order's payment, and assert that their sequence has no gap."""
    found = fetch_rows(
        "payments",
        "SELECT name, sequence FROM shop_outboxevent WHERE stream = %s ORDER BY sequence",
        [f"payments.payment:{order_id}"],
    )
    assert [sequence for _, sequence in found] == list(range(1, len(found) + 1))
    return [name.partition(".")[2] for name, _ in found]


def read_sandbox_intent(payment: Payment) -> dict[str, Any]:
    """Return the payment's intent in the sandbox's own table. Empty if there is none."""
    names = ("status", "charges", "captured", "refunded", "confirms", "captures")
    found = fetch_rows(
        "payments",
        f"SELECT {', '.join(names)} FROM payments_sandboxintent WHERE reference = %s",
        [f"sb_{payment.id.hex}"],
    )
    return dict(zip(names, found[0], strict=True)) if found else {}


def read_provider_refunds(payment: Payment) -> list[int]:
    """Return the amounts of the refunds in the sandbox's own table."""
    found = fetch_rows(
        "payments", "SELECT amount FROM payments_sandboxrefund WHERE reference = %s", [f"sb_{payment.id.hex}"]
    )
    return [amount for (amount,) in found]


def read_column(payment: Payment, name: str) -> Any:
    """Return a column of the payment's row that the interface does not show."""
    return fetch_rows("payments", f"SELECT {name} FROM payments_payment WHERE id = %s", [payment.id])[0][0]


def read_ledger(payment: Payment) -> list[tuple[str, str, int]]:
    """Return booking, account and amount of the payment's ledger entries."""
    return fetch_rows(
        "payments",
        "SELECT booking, account, amount FROM payments_ledgerentry WHERE payment_id = %s ORDER BY id",
        [payment.id],
    )


def reconcile_to_status(order_id: UUID, *statuses: str) -> Payment:
    """Run the reconciler until the payment has one of these statuses."""
    reconcile_until(lambda: get_payment(order_id).status in statuses)
    return get_payment(order_id)


def reconcile_until(condition: Callable[[], bool]) -> None:
    """Run the reconciler until a condition is true."""
    eventually(condition, run_payment_timers)


def move_money(payment: Payment, movement: str, amount: int | None = None) -> None:
    """Move money at the sandbox without a request of the shop, which does not notify it."""
    sandbox.provider.move_money(reference=f"sb_{payment.id.hex}", movement=sandbox.Movement(movement), amount=amount)


def check_now(payment: Payment) -> None:
    """Make the next comparison of a payment with its provider due, and run it."""
    execute("payments", "UPDATE payments_payment SET check_at = now() WHERE id = %s", [payment.id])
    checks = f"SELECT check_at > now() AND due_at IS NULL FROM payments_payment WHERE id = '{payment.id}'"
    reconcile_until(lambda: fetch_rows("payments", checks) == [(True,)])


class BackgroundTask:
    """Run an action in a thread beside the test. `wait` returns its result, or the exception that it raised."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.work, self.result = work, None
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.result = self.work()
        except Exception as error:
            self.result = error
        finally:
            connections.close_all()

    def wait(self) -> Any:
        self.thread.join(20)
        assert not self.thread.is_alive()
        return self.result
