"""Report the violations that a test caused, although other tests corrupt the same databases.

Only new violations count: those that were not there before the test. That is enough for invariants that always hold.
Those that hold eventually are reported only for orders that were placed during the test, as their first event shows: a
payment without an order, or an event that a test published directly, is an incomplete scenario.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import pytest

from ops.verify import INVARIANTS, Violation, check
from shop.db.database import PreparedStatement, fetch_rows
from tests.concurrency import eventually
from tests.engine_driver import run_checkout_timers, run_payment_timers, run_until_idle

EVENTUAL_INVARIANTS = {one.name for one in INVARIANTS if not one.holds_always}
MAIL_INVARIANT = "message_goes_out"  # most tests have no mail server; those that have check what it received


PARAMETER_TYPES = {"grace": "interval", "late": "interval", "is_idle": "boolean", "currency": "text", "context": "text"}
Violations = dict[tuple[str, str], Violation]
_last_check: tuple[str, Violations] = ("", {})


@cache
def _prepare(sql: str) -> PreparedStatement:
    """Give the parameters of an invariant their types, since a value without a type may be taken for another one."""
    return PreparedStatement(re.sub(r"%\((\w+)\)s", lambda found: f"{found[0]}::{PARAMETER_TYPES[found[1]]}", sql))


def find_violations() -> Violations:
    """Return all violations by invariant and subject. Those found last if nothing was written to any database since."""
    global _last_check
    [(snapshot,)] = fetch_rows("orders", "SELECT pg_current_snapshot()::text")  # of all databases of the server
    if _last_check[0] != snapshot:
        _last_check = (
            snapshot,
            {(found.invariant, found.subject): found for found in check(is_idle=True, prepare=_prepare)},
        )
    return _last_check[1]


class InvariantWatch:
    """The violations since the beginning of a test."""

    def __init__(self, before: set[tuple[str, str]]) -> None:
        self.before = before
        self.last: Violations = {}
        [(self.began,)] = fetch_rows("orders", "SELECT clock_timestamp()")

    def placed(self) -> set[str]:
        """Return the orders that were placed since the beginning."""
        placed = "SELECT payload ->> 'order_id' FROM shop_outboxevent WHERE name = %s AND occurred_at >= %s"
        return {order_id for (order_id,) in fetch_rows("orders", placed, ["orders.order_placed", self.began])}

    def found(self) -> list[Violation]:
        """Return the violations that the test caused so far."""
        self.last = find_violations()
        new = [found for key, found in self.last.items() if key not in self.before]
        orders = self.placed() if any(found.invariant in EVENTUAL_INVARIANTS for found in new) else set()
        return [found for found in new if self._counts(found, orders)]

    def _counts(self, found: Violation, orders: set[str]) -> bool:
        if found.invariant not in EVENTUAL_INVARIANTS:
            return True
        return found.invariant != MAIL_INVARIANT and any(order in found.subject for order in orders)

    def settled(self) -> list[Violation]:
        """Run the engine until no work is left; return the violations that remain or can no longer disappear."""
        found: list[Violation] = []

        def is_settled() -> bool:
            found[:] = self.found()
            return all(one.invariant not in EVENTUAL_INVARIANTS for one in found)

        drivers = [run_until_idle, run_checkout_timers, run_payment_timers] if self.placed() else []
        try:
            eventually(is_settled, *drivers)
        except AssertionError:
            return found
        return found


# The test that was verified last, and the violations after it: those before the next test.
_previous: tuple[str, set[tuple[str, str]]] = ("", set())


@contextmanager
def assert_invariants_kept(request: pytest.FixtureRequest) -> Iterator[None]:
    """Assert that the test causes no violations, or exactly those that its marker `breaks` names."""
    global _previous
    items = request.session.items
    before_it = items[items.index(request.node) - 1].nodeid
    watch = InvariantWatch(_previous[1] if _previous[0] == before_it else set(find_violations()))
    yield
    found = watch.settled()
    _previous = (request.node.nodeid, set(watch.last))
    marker = request.node.get_closest_marker("breaks")
    assert {one.invariant for one in found} == set(marker.args if marker else ()), found
