"""What the tests of payments share: paying, looking at what came of it, and a provider that can be held up."""

import threading
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import jwt
from django.conf import settings
from django.db import connections

from contexts.payments.interface import Payment, PaymentMethod, payments
from contexts.payments.providers import Answer
from contexts.payments.providers.sandbox import Sandbox
from shop.database import rows
from shop.errors import Unavailable
from shop.ids import uuid7
from shop.money import Money
from tests.orders.clockwork import reconcile
from tests.threads import eventually

EUR_20 = Money(2000, "EUR")


def authorize(token: str = "tok_ok", *, amount: Money = EUR_20, provider: str = "sandbox") -> Payment:
    """The payment of a new order."""
    return payments.authorize(
        order_id=uuid7(), amount=amount, method=PaymentMethod(provider=provider, token=token)
    )


def captured(amount: Money = EUR_20, provider: str = "sandbox") -> Payment:
    return payments.capture(order_id=authorize(amount=amount, provider=provider).order_id)


def seen(order_id: UUID) -> Payment:
    """The payment as others see it now."""
    [payment] = payments.of_orders(order_ids=(order_id,))
    return payment


def announced(order_id: UUID) -> list[str]:
    """The short names of what was announced about an order's payment; the sequence has no gap."""
    found = rows(
        "payments",
        "SELECT name, sequence FROM shop_outboxevent WHERE stream = %s ORDER BY sequence",
        [f"payments.payment:{order_id}"],
    )
    assert [sequence for _, sequence in found] == list(range(1, len(found) + 1))
    return [name.partition(".")[2] for name, _ in found]


def intent(payment: Payment) -> dict[str, Any]:
    """What the sandbox itself has written down; empty if it has never heard of the payment."""
    names = ("status", "charges", "captured", "refunded", "confirms", "captures")
    found = rows(
        "payments",
        f"SELECT {', '.join(names)} FROM payments_sandboxintent WHERE reference = %s",
        [f"sb_{payment.id.hex}"],
    )
    return dict(zip(names, found[0], strict=True)) if found else {}


def provider_refunds(payment: Payment) -> list[int]:
    found = rows(
        "payments", "SELECT amount FROM payments_sandboxrefund WHERE reference = %s", [f"sb_{payment.id.hex}"]
    )
    return [amount for (amount,) in found]


def column(payment: Payment, name: str) -> Any:
    """A column that no face shows."""
    return rows("payments", f"SELECT {name} FROM payments_payment WHERE id = %s", [payment.id])[0][0]


def ledger(payment: Payment) -> list[tuple[str, str, int]]:
    return rows(
        "payments",
        "SELECT booking, account, amount FROM payments_ledgerentry WHERE payment_id = %s ORDER BY id",
        [payment.id],
    )


def reconciled(order_id: UUID, *statuses: str) -> Payment:
    """Run the timer until the payment is in one of these states."""
    reconcile_until(lambda: seen(order_id).status in statuses)
    return seen(order_id)


def reconcile_until(settled: Callable[[], bool]) -> None:
    """Run the timer until something is so."""
    eventually(settled, reconcile)


class Beside:
    """Something that runs beside the test, to be waited for."""

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


class Held(Sandbox):
    """A sandbox one of whose calls waits, before or after its effect, until it is let go."""

    def __init__(self, call: str, *, after: bool) -> None:
        self.call, self.after = call, after
        self.reached, self.go = threading.Event(), threading.Event()

    def _gate(self, call: str, do: Callable[[], Answer]) -> Answer:
        if call != self.call or self.reached.is_set():
            return do()
        answer = do() if self.after else None
        self.reached.set()
        assert self.go.wait(20)
        return answer or do()

    def confirm(self, **arguments: Any) -> Answer:
        return self._gate("confirm", lambda: Sandbox.confirm(self, **arguments))

    def retrieve(self, **arguments: Any) -> Answer:
        return self._gate("retrieve", lambda: Sandbox.retrieve(self, **arguments))

    def capture(self, **arguments: Any) -> Answer:
        return self._gate("capture", lambda: Sandbox.capture(self, **arguments))


class Unsteady(Sandbox):
    """A sandbox that gives no answer to the first calls of some kinds, although it carries them out."""

    def __init__(self, **silent: int) -> None:
        self.silent = silent

    def _answer(self, call: str, answer: Answer) -> Answer:
        if self.silent.get(call, 0) > 0:
            self.silent[call] -= 1
            raise Unavailable(what="The provider")
        return answer

    def retrieve(self, **arguments: Any) -> Answer:
        return self._answer("retrieve", super().retrieve(**arguments))

    def capture(self, **arguments: Any) -> Answer:
        return self._answer("capture", super().capture(**arguments))

    def cancel(self, **arguments: Any) -> Answer:
        return self._answer("cancel", super().cancel(**arguments))

    def refund(self, **arguments: Any) -> Answer:
        return self._answer("refund", super().refund(**arguments))


class Refusing(Sandbox):
    """A sandbox that refuses refunds for good, as long as `refuses`."""

    refuses = True

    def refund(self, **arguments: Any) -> Answer:
        return Answer("refused", "account_closed") if self.refuses else super().refund(**arguments)


def token(*permissions: str, kind: str = "access") -> str:
    """What users would sign for a member of staff."""
    now = int(time.time())
    claims = {
        "sub": str(uuid7()), "typ": kind, "name": "clerk@satsuma.example", "permissions": permissions,
        "aud": settings.JWT_AUDIENCE, "iss": settings.JWT_ISSUER, "iat": now, "exp": now + 300,
    }  # fmt: skip
    return jwt.encode(claims, settings.JWT_SIGNING_KEY, "ES256", {"kid": settings.JWKS["keys"][0]["kid"]})
