"""The fixture `verified` reports violations that a test caused, and ignores those of other tests."""

from shop.db.database import execute
from tests.engine_driver import run_until_idle
from tests.factories import create_sku
from tests.ops.verify.invariant_watch import InvariantWatch, find_violations
from tests.payments.operations import authorize
from tests.shopper import InProcessShopper


def invariant_names(watch: InvariantWatch) -> list[str]:
    return [found.invariant for found in watch.found()]


def test_only_new_violations_are_counted():
    old, new = create_sku(5), create_sku(5)
    wrong = "UPDATE inventory_stock SET initial = %s WHERE sku = %s"
    execute("inventory", wrong, [6, old])
    watch = InvariantWatch(set(find_violations()))
    assert invariant_names(watch) == []
    execute("inventory", wrong, [6, new])
    assert [(found.invariant, found.subject) for found in watch.settled()] == [("stock_explained", new)]
    for sku in (old, new):
        execute("inventory", wrong, [5, sku])
    assert watch.settled() == []


def test_an_unfinished_order_is_counted_and_a_payment_without_an_order_is_not():
    watch = InvariantWatch(set(find_violations()))
    orphan = authorize("tok_error")
    assert invariant_names(watch) == []
    order = InProcessShopper().order(create_sku(1), token="tok_error").body
    run_until_idle()
    [found] = watch.found()
    assert (found.invariant, found.subject) == ("payment_is_looked_at", order["id"])
    assert str(orphan.order_id) in {subject for name, subject in watch.last if name == "payment_is_looked_at"}


def test_an_order_is_completed_before_it_is_checked():
    watch = InvariantWatch(set(find_violations()))
    order = InProcessShopper().order(create_sku(1)).body
    assert "confirmed_has_stock" in invariant_names(watch), "no event was delivered yet"
    assert watch.settled() == []
    assert order["id"] in watch.placed()
