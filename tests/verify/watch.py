"""Whether a test left the books right, though the databases hold what other tests planted in them.

Only what is new counts: what breaks an invariant after the test and did not before. Of the invariants that hold at every
instant that is all there is to say, whoever the row belongs to. What holds in the end is judged only where the test
began it: of orders that went through `place` while the test ran, as their first fact says. A payment without an order,
or a fact that a test announced by hand, is half of a story; its own context's books are checked all the same.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from config.verify import INVARIANTS, Violation, check
from shop.database import rows
from tests.orders.clockwork import reconcile, run_until_idle, sweep
from tests.threads import eventually

IN_THE_END = {one.name for one in INVARIANTS if not one.at_every_instant}
NOBODY_SENDS = "message_goes_out"  # most tests have no mail server; those that have look at what it got


def broken() -> dict[tuple[str, str], Violation]:
    """What is not as it has to be, by invariant and subject."""
    return {(found.invariant, found.subject): found for found in check(at_rest=True)}


class Watch:
    """The books from the beginning of a test on."""

    def __init__(self, before: set[tuple[str, str]]) -> None:
        self.before = before
        self.last: dict[tuple[str, str], Violation] = {}
        [(self.began,)] = rows("orders", "SELECT clock_timestamp()")

    def placed(self) -> set[str]:
        """The orders that were placed meanwhile."""
        placed = "SELECT payload ->> 'order_id' FROM shop_outboxevent WHERE name = %s AND occurred_at >= %s"
        return {order_id for (order_id,) in rows("orders", placed, ["orders.order_placed", self.began])}

    def found(self) -> list[Violation]:
        """What the test is to blame for."""
        self.last = broken()
        new = [found for key, found in self.last.items() if key not in self.before]
        orders = self.placed() if any(found.invariant in IN_THE_END for found in new) else set()
        return [
            found for found in new
            if found.invariant not in IN_THE_END
            or (found.invariant != NOBODY_SENDS and any(order in found.subject for order in orders))
        ]  # fmt: skip

    def settled(self) -> list[Violation]:
        """What is wrong once everything has come to its end, or will never be right."""
        found: list[Violation] = []

        def at_rest() -> bool:
            found[:] = self.found()
            return all(one.invariant not in IN_THE_END for one in found)

        try:
            eventually(at_rest, *([run_until_idle, sweep, reconcile] if self.placed() else []))
        except AssertionError:
            return found
        return found


_previous: tuple[str, set[tuple[str, str]]] = ("", set())  # the test that was verified last, and what was wrong after it


@contextmanager
def watched(request: pytest.FixtureRequest) -> Iterator[None]:
    """Check that the test leaves the books right; or, if it says so by `breaks`, breaks exactly these invariants."""
    global _previous
    items = request.session.items
    before_it = items[items.index(request.node) - 1].nodeid
    watch = Watch(_previous[1] if _previous[0] == before_it else set(broken()))
    yield
    found = watch.settled()
    _previous = (request.node.nodeid, set(watch.last))
    marker = request.node.get_closest_marker("breaks")
    assert {one.invariant for one in found} == set(marker.args if marker else ()), found
