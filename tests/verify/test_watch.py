"""The fixture `verified` sees what a test leaves wrong, and is not misled by what others left."""

from shop.database import changed
from tests.inventory.stock import stocked
from tests.orders.clockwork import run_until_idle
from tests.payments.desk import authorize
from tests.shopper import InProcess
from tests.verify.watch import Watch, broken


def names(watch: Watch) -> list[str]:
    return [found.invariant for found in watch.found()]


def test_what_was_wrong_before_is_not_counted_and_what_is_new_is():
    old, new = stocked(5), stocked(5)
    wrong = "UPDATE inventory_stock SET initial = %s WHERE sku = %s"
    changed("inventory", wrong, [6, old])
    watch = Watch(set(broken()))
    assert names(watch) == []
    changed("inventory", wrong, [6, new])
    assert [(found.invariant, found.subject) for found in watch.settled()] == [("stock_explained", new)]
    for sku in (old, new):
        changed("inventory", wrong, [5, sku])
    assert watch.settled() == []


def test_an_order_that_is_not_at_rest_is_counted_and_a_payment_without_an_order_is_not():
    watch = Watch(set(broken()))
    orphan = authorize("tok_error")
    assert names(watch) == []
    order = InProcess().order(stocked(1), token="tok_error").body
    run_until_idle()
    [found] = watch.found()
    assert (found.invariant, found.subject) == ("payment_is_looked_at", order["id"])
    assert str(orphan.order_id) in {subject for name, subject in watch.last if name == "payment_is_looked_at"}


def test_an_order_comes_to_its_end_before_it_is_judged():
    watch = Watch(set(broken()))
    order = InProcess().order(stocked(1)).body
    assert "confirmed_has_stock" in names(watch), "nothing was delivered yet"
    assert watch.settled() == []
    assert order["id"] in watch.placed()
