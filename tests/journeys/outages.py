"""How a shop in five processes responds while one context is unavailable: one table, for docs/outages.md and for the tests.

Run `python -m tests.journeys.outages` to print that page.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from shop.calls.deadline import CALL_TIMEOUT_SECONDS
from shop.calls.remote.client import CIRCUIT_COOLDOWN_SECONDS, CIRCUIT_FAILURE_THRESHOLD, REPLY_TIMEOUT_SECONDS
from tests.context_map import list_callees_first
from tests.journeys.proxy import SLOW_RESPONSE_SECONDS

CALLEES = list_callees_first()
STATES = {
    "down": "it refuses connections",
    "slow": f"each of its responses takes {SLOW_RESPONSE_SECONDS:g} s",
    "mute": "it executes requests, but its responses are lost",
    "flapping": "every second request is cut off before it is executed",
}
IMMEDIATE_SECONDS = 1.0  # the outage adds no delay


@dataclass(frozen=True)
class Column:
    """An action, the context that serves it, and the calls that this context makes to others meanwhile, one by one."""

    what: str
    host: str
    success: str
    status: int
    calls: tuple[str, ...] = ()


COLUMNS = {
    "browse": Column("list products", "inventory", "the products", 200),
    "put_into_cart": Column("set the quantity of a cart item", "orders", "the cart", 200, ("inventory", "inventory")),
    "order": Column(
        "place an order as a guest", "orders", "confirmed", 201, ("inventory", "inventory", "payments", "payments")
    ),
    "order_of_customer": Column(
        "place an order as a customer, without an e-mail address in the request", "orders", "confirmed", 201,
        ("users", "inventory", "inventory", "payments", "payments"),
    ),
    "pay": Column("approve a payment on the provider's page", "payments", "paid; the order is confirmed by an event", 200),
    "refund": Column("refund a payment, as staff", "payments", "refunded", 201, ("users",)),
    "sign_in": Column("sign in to the admin", "orders", "signed in", 302, ("users",)),
    "admin": Column("list orders in the admin", "orders", "the page", 200, ("users",)),
}  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """The response to a request. Without a status there is none, and a gateway responds with 502, or 504 after its timeout."""

    status: int | None
    meaning: str
    within: float  # seconds, by design
    retry_after: bool = False
    code: str = ""

    def __str__(self) -> str:
        status = "no response" if self.status is None else str(self.status)
        return f"{status}: {self.meaning}" + (f" ({self.within:g} s)" if self.within > IMMEDIATE_SECONDS else "")


UNAVAILABLE = Outcome(503, "nothing was stored; retry", IMMEDIATE_SECONDS, True, "shop.unavailable")
ACCEPTED = Outcome(202, "placed; confirmed automatically later", IMMEDIATE_SECONDS)
UNAVAILABLE_ADMIN = replace(UNAVAILABLE, code="")
RETRY_SIGN_IN = replace(UNAVAILABLE_ADMIN, meaning="a password is never sent twice automatically; retry")
NO_RESPONSE = Outcome(None, "retry", IMMEDIATE_SECONDS)


def outcome(callee: str, state: str, name: str) -> Outcome:
    """Return the declared outcome of one cell of the table."""
    column = COLUMNS[name]
    success = Outcome(column.status, column.success, IMMEDIATE_SECONDS)
    calls = column.calls.count(callee)
    if callee == column.host:
        return replace(success, within=SLOW_RESPONSE_SECONDS + IMMEDIATE_SECONDS) if state == "slow" else NO_RESPONSE
    if not calls or state == "flapping":
        return RETRY_SIGN_IN if calls and name == "sign_in" else success
    if state == "slow":
        return replace(success, within=calls * SLOW_RESPONSE_SECONDS + IMMEDIATE_SECONDS)
    failure = ACCEPTED if callee == "payments" else UNAVAILABLE_ADMIN if name in ("sign_in", "admin") else UNAVAILABLE
    if state == "down":
        return failure
    return replace(failure, within=REPLY_TIMEOUT_SECONDS if name == "sign_in" else CALL_TIMEOUT_SECONDS)


def iter_outages() -> Iterator[tuple[str, str]]:
    """Iterate over all outages: the context, and its state."""
    return ((callee, state) for callee in CALLEES for state in STATES)


PAGE = """\
# When a context is unavailable

Each context runs in a process of its own, and one of them is unavailable: this page lists how requests are answered
meanwhile. `python -m tests.journeys.outages` generates it from the table that `tests/journeys/test_outages.py` tests, cell by
cell. In parentheses is the maximum time that the outage may add. After the outage, a retry with the same idempotency key
succeeds as if nothing had happened: each key has exactly one order with one confirmation e-mail, and stock and payments
are correct.

Actions:

{columns}

States of the unavailable context:

{states}
{tables}

## What this means for clients

- *No response*: the context that serves the request is the one that is unavailable. A gateway responds with 502, or with 504
  after its timeout; that of `manage.py gateway` does so with the problem `shop.unavailable` and `Retry-After`. The request
  may or may not have been carried out: repeat it with its `Idempotency-Key`.
- A call between contexts has a deadline of {deadline:.0f} s, each attempt a timeout of {timeout:.0f} s.
  After {failures} failures in a row the circuit breaker opens for {cooldown:.0f} s: further calls fail immediately.
- A 503 has a `Retry-After` header, and nothing of the order was stored. After a 202 the order is stored, and the shop
  completes it without a further request.
"""


def page() -> str:
    """Return the text of docs/outages.md."""
    return PAGE.format(
        states="\n".join(f"- **{state}**: {what}" for state, what in STATES.items()),
        columns="\n".join(f"- **{name}**: {column.what}. {_describe_calls(column)}" for name, column in COLUMNS.items()),
        tables="\n".join(_build_table(callee) for callee in CALLEES),
        deadline=CALL_TIMEOUT_SECONDS, timeout=REPLY_TIMEOUT_SECONDS,
        failures=CIRCUIT_FAILURE_THRESHOLD, cooldown=CIRCUIT_COOLDOWN_SECONDS,
    )  # fmt: skip


def _describe_calls(column: Column) -> str:
    callees = ", ".join(dict.fromkeys(column.calls)) or "no other context"
    return f"Served by {column.host}, which calls {callees}."


def _build_table(callee: str) -> str:
    lines = [f"\n## {callee} is unavailable\n", f"| | {' | '.join(STATES)} |", "|---" * (len(STATES) + 1) + "|"]
    for name in COLUMNS:
        lines.append(f"| {name} | {' | '.join(str(outcome(callee, state, name)) for state in STATES)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(page(), end="")
