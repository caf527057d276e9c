"""What a shop in five processes does when one of them is away: declared once, for docs/outages.md and for the tests.

Run it (`python -m tests.journeys.outages`) to print that page.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from shop.remote import ANSWER, FAILURES, PATIENCE, REST
from tests.journeys.proxy import SLOW

CALLEES = ("inventory", "payments", "users", "notifications", "orders")
STATES = {
    "down": "it refuses connections",
    "slow": f"each of its answers takes {SLOW:g} s",
    "mute": "it does what it is asked, and none of its answers arrives",
    "flapping": "every second request is broken off before it is heard",
}
AT_ONCE = 1.0  # seconds: nothing that an outage adds to what it takes anyway


@dataclass(frozen=True)
class Column:
    """Something that people do: whose public server they ask, and whom that one asks meanwhile, call by call."""

    what: str
    host: str
    answer: str
    status: int
    asks: tuple[str, ...] = ()


COLUMNS = {
    "browse": Column("look at products", "inventory", "the products", 200),
    "put_into_cart": Column("put something into a cart", "orders", "the cart", 200, ("inventory", "inventory")),
    "order": Column(
        "order as a guest", "orders", "confirmed", 201, ("inventory", "inventory", "payments", "payments")
    ),
    "order_of_customer": Column(
        "order as a customer, who gives no address for the receipt", "orders", "confirmed", 201,
        ("users", "inventory", "inventory", "payments", "payments"),
    ),
    "pay": Column("come back from the provider's page", "payments", "paid; the order hears of it by event", 200),
    "refund": Column("staff give money back", "payments", "done", 201),
    "sign_in": Column("staff sign in to the admin", "orders", "signed in", 302, ("users",)),
    "admin": Column("staff look at the orders", "orders", "the page", 200),
    "admin_renewed": Column(
        "the same, where the token of the session has run out", "orders", "the page", 200, ("users",)
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """How a request is answered. Without a status nobody answers, and a gateway says 502, or 504 when it has waited enough."""

    status: int | None
    meaning: str
    within: float  # seconds, by design
    retry_after: bool = False
    code: str = ""

    def __str__(self) -> str:
        said = "no answer" if self.status is None else str(self.status)
        return f"{said}: {self.meaning}" + (f" ({self.within:g} s)" if self.within > AT_ONCE else "")


NOT_NOW = Outcome(503, "nothing has happened; to be asked again", AT_ONCE, True, "shop.unavailable")
WAITS = Outcome(202, "placed; confirmed by itself later", AT_ONCE)
NOT_NOW_ADMIN = replace(NOT_NOW, code="")
TRY_AGAIN = replace(NOT_NOW_ADMIN, meaning="a password is not sent twice by itself; to be tried again")
NOBODY = Outcome(None, "to be asked again", AT_ONCE)


def outcome(callee: str, state: str, name: str) -> Outcome:
    """What is declared of one cell."""
    column = COLUMNS[name]
    well = Outcome(column.status, column.answer, AT_ONCE)
    asked = column.asks.count(callee)
    if callee == column.host:
        return replace(well, within=SLOW + AT_ONCE) if state == "slow" else NOBODY
    if not asked or state == "flapping":
        return TRY_AGAIN if asked and name == "sign_in" else well
    if state == "slow":
        return replace(well, within=asked * SLOW + AT_ONCE)
    away = WAITS if callee == "payments" else NOT_NOW_ADMIN if name in ("sign_in", "admin_renewed") else NOT_NOW
    if state == "down":
        return away
    return replace(away, within=ANSWER if name == "sign_in" else PATIENCE)


def rows() -> Iterator[tuple[str, str]]:
    """Who is away, and in which way."""
    return ((callee, state) for callee in CALLEES for state in STATES)


PAGE = """\
# When a context is away

Five processes, one context each: what people are told while one of them is away. Written by `python -m tests.journeys.outages`
from the table that `tests/journeys/test_outages.py` tests, cell by cell. In brackets stands the longest that an outage may
make it take. When the context is back, what is asked again with the same key is answered as if nothing had happened; in the
end there is one order for each wish, with one letter, and each unit and each cent is where it belongs.

What people do:

{columns}

How a context is away:

{states}
{tables}

## What it means

- *No answer* is what the context's own server would have said: a gateway answers 502, or 504 when it has waited enough.
- A call from context to context ends after {patience:.0f} s, an answer is waited for {answer:.0f} s. After {failures} failures
  in a row nobody asks for {rest:.0f} s, so that the next ones are told at once.
- 503 has a `Retry-After`; nothing is kept of such an order. 202 has been placed, and the shop goes on by itself.
"""


def page() -> str:
    """docs/outages.md."""
    return PAGE.format(
        states="\n".join(f"- **{state}**: {what}" for state, what in STATES.items()),
        columns="\n".join(f"- **{name}**: {column.what}. {_path(column)}" for name, column in COLUMNS.items()),
        tables="\n".join(_table(callee) for callee in CALLEES),
        patience=PATIENCE, answer=ANSWER, failures=FAILURES, rest=REST,
    )  # fmt: skip


def _path(column: Column) -> str:
    asked = f", which asks {', '.join(dict.fromkeys(column.asks))}" if column.asks else ", which asks nobody"
    return f"Answered by {column.host}{asked}."


def _table(callee: str) -> str:
    lines = [f"\n## {callee} is away\n", f"| | {' | '.join(STATES)} |", "|---" * (len(STATES) + 1) + "|"]
    for name in COLUMNS:
        lines.append(f"| {name} | {' | '.join(str(outcome(callee, state, name)) for state in STATES)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(page(), end="")
