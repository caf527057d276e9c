"""Whether a test left the books right, though the databases hold what other tests planted in them.

Only what is new counts: what breaks an invariant after the test and did not before. Of the invariants that hold at every
instant that is all there is to say, whoever the row belongs to. What holds in the end is judged only where the test
began it: of orders that went through `place` while the test ran, as their first fact says. A payment without an order,
or a fact that a test announced by hand, is half of a story; its own context's books are checked all the same.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from config.verify import INVARIANTS, Violation, check
from shop.database import rows
from shop.engine import run_until_idle
from tests.orders.clockwork import reconcile, sweep
from tests.threads import eventually

IN_THE_END = {one.name for one in INVARIANTS if not one.at_every_instant}


def broken() -> dict[tuple[str, str], Violation]:
    """What is not as it has to be, by invariant and subject."""
    return {(found.invariant, found.subject): found for found in check(at_rest=True)}


class Watch:
    """The books from the beginning of a test on."""

    def __init__(self, before: set[tuple[str, str]]) -> None:
        self.before = before
        [(self.began,)] = rows("orders", "SELECT clock_timestamp()")

    def placed(self) -> set[str]:
        """The orders that were placed meanwhile."""
        placed = "SELECT payload ->> 'order_id' FROM shop_outboxevent WHERE name = %s AND occurred_at >= %s"
        return {order_id for (order_id,) in rows("orders", placed, ["orders.order_placed", self.began])}

    def found(self) -> tuple[list[Violation], list[Violation]]:
        """What the test is to blame for: what may never be, and what has not come to its end yet."""
        new = [found for key, found in broken().items() if key not in self.before]
        never = [found for found in new if found.invariant not in IN_THE_END]
        orders = self.placed() if len(never) < len(new) else set()
        unfinished = [
            found for found in new if found.invariant in IN_THE_END and any(one in found.subject for one in orders)
        ]
        return never, unfinished

    def settle(self) -> None:
        """Let everything come to its end. AssertionError if it does not, or if something may never be so."""
        last: list[list[Violation]] = [[], []]

        def at_rest() -> bool:
            last[:] = self.found()
            return bool(last[0]) or not last[1]

        try:
            eventually(at_rest, *([run_until_idle, sweep, reconcile] if self.placed() else []))
        except AssertionError:
            raise AssertionError(f"not at rest: {last[1]}") from None
        assert not last[0], f"the books are wrong: {last[0]}"


@contextmanager
def watched(before: set[tuple[str, str]] | None = None) -> Iterator[Watch]:
    """Check that what happens within leaves the books right. `before`: what was wrong already, if that is known."""
    watch = Watch(set(broken()) if before is None else before)
    yield watch
    watch.settle()
