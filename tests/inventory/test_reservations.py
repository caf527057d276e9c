"""The state table of reservations: what reserve, release and commit lead to, from every state."""

from uuid import uuid4

import pytest

from contexts.inventory.interface import Line, OutOfStock, UnknownSku, inventory
from contexts.inventory.service import editing, reservations
from shop.errors import Closed, Invalid
from tests.inventory.books import assert_stock_adds_up, facts, movements, status_of, stock_of
from tests.inventory.stock import HOLD, lines, reserved, stocked


@pytest.fixture(autouse=True)
def books_balance():
    yield
    assert_stock_adds_up()


def announced(order_id):
    return [name for _, name in facts("reservation", order_id)]


def refuse(sku, order_id, quantity):
    with pytest.raises(OutOfStock) as refusal:
        reserved((sku, quantity), order_id=order_id)
    return refusal.value.facts


def test_reserved_units_stay_on_hand_and_cannot_be_bought():
    sku = stocked(5)
    found = reserved((sku, 2))
    assert (found.status, found.lines) == ("held", (Line(sku=sku, quantity=2),))
    assert stock_of(sku) == (5, 2)
    assert inventory.quote(skus=(sku,))[0].available == 3
    assert announced(found.order_id) == ["reservation_held"]


def test_reserving_again_returns_the_same_reservation_and_announces_nothing():
    sku, order_id = stocked(5), uuid4()
    first = reserved((sku, 2), order_id=order_id)
    assert reserved((sku, 2), order_id=order_id) == first
    assert stock_of(sku) == (5, 2)
    assert announced(order_id) == ["reservation_held"]


def test_lines_of_the_same_sku_count_together():
    sku, order_id = stocked(3), uuid4()
    with pytest.raises(OutOfStock):
        reserved((sku, 2), (sku, 2), order_id=order_id)
    assert reserved((sku, 2), (sku, 1)).lines == (Line(sku=sku, quantity=3),)
    assert stock_of(sku) == (3, 3)


def test_all_of_it_is_reserved_or_none():
    plenty, few, order_id = stocked(10), stocked(1), uuid4()
    with pytest.raises(OutOfStock) as refusal:
        reserved((plenty, 3), (few, 2), order_id=order_id)
    assert refusal.value.facts == {"sku": few, "available": 1}
    assert (stock_of(plenty), stock_of(few)) == ((10, 0), (1, 0))
    assert status_of(order_id) == "refused"


def test_a_refusal_is_repeated_even_when_there_is_enough_by_then():
    sku, order_id, other = stocked(1), uuid4(), uuid4()
    reserved((sku, 1), order_id=other)
    assert refuse(sku, order_id, 1) == {"sku": sku, "available": 0}
    inventory.release(order_id=other)
    assert refuse(sku, order_id, 1) == {"sku": sku, "available": 0}
    assert announced(order_id) == ["reservation_refused"]


def test_releasing_a_refused_reservation_changes_nothing():
    sku, order_id = stocked(1), uuid4()
    refuse(sku, order_id, 2)
    assert inventory.release(order_id=order_id).status == "refused"
    assert refuse(sku, order_id, 2) == {"sku": sku, "available": 1}
    assert announced(order_id) == ["reservation_refused"]


def test_released_units_can_be_bought_again_and_a_late_reserve_is_closed():
    sku, order_id = stocked(2), uuid4()
    reserved((sku, 2), order_id=order_id)
    released = inventory.release(order_id=order_id)
    assert (released.status, released.lines) == ("released", (Line(sku=sku, quantity=2),))
    assert inventory.release(order_id=order_id) == released
    assert stock_of(sku) == (2, 0)
    with pytest.raises(Closed) as closed:
        reserved((sku, 2), order_id=order_id)
    assert closed.value.key == str(order_id)
    assert announced(order_id) == ["reservation_held", "reservation_released"]


def test_releasing_an_order_never_seen_leaves_a_tombstone():
    sku, order_id = stocked(2), uuid4()
    tombstone = inventory.release(order_id=order_id)
    assert (tombstone.status, tombstone.lines) == ("released", ())
    with pytest.raises(Closed):
        reserved((sku, 1), order_id=order_id)
    assert inventory.release(order_id=order_id) == tombstone
    assert stock_of(sku) == (2, 0)
    assert facts("reservation", order_id) == [(1, "reservation_released")]


def test_committed_units_leave_the_shelf():
    sku, order_id = stocked(5), uuid4()
    reserved((sku, 2), order_id=order_id)
    reservations.commit(order_id)
    assert stock_of(sku) == (3, 0)
    assert movements(sku) == [("sale", -2)]
    assert announced(order_id) == ["reservation_held", "reservation_committed"]


def test_committing_twice_sells_once():
    sku, order_id = stocked(5), uuid4()
    reserved((sku, 2), order_id=order_id)
    reservations.commit(order_id)
    reservations.commit(order_id)
    assert movements(sku) == [("sale", -2)]


def test_reserving_a_committed_order_again_reports_that_it_is_committed():
    sku, order_id = stocked(5), uuid4()
    reserved((sku, 2), order_id=order_id)
    reservations.commit(order_id)
    assert reserved((sku, 2), order_id=order_id).status == "committed"
    assert stock_of(sku) == (3, 0)


def test_releasing_a_committed_reservation_puts_the_units_back_on_the_shelf_once():
    sku, order_id = stocked(5), uuid4()
    reserved((sku, 2), order_id=order_id)
    reservations.commit(order_id)
    restocked = inventory.release(order_id=order_id)
    assert restocked.status == "restocked"
    assert inventory.release(order_id=order_id) == restocked
    assert stock_of(sku) == (5, 0)
    assert movements(sku) == [("sale", -2), ("restock", 2)]
    with pytest.raises(Closed):
        reserved((sku, 2), order_id=order_id)
    assert announced(order_id) == ["reservation_held", "reservation_committed", "reservation_released"]


@pytest.mark.parametrize("undo_first", [True, False])
def test_committing_what_was_released_or_refused_is_ignored(undo_first):
    sku, order_id = stocked(1), uuid4()
    if undo_first:
        inventory.release(order_id=order_id)
    else:
        refuse(sku, order_id, 2)
    before = announced(order_id)
    reservations.commit(order_id)
    assert stock_of(sku) == (1, 0)
    assert announced(order_id) == before


def test_committing_an_order_without_a_reservation_is_an_error_that_somebody_sees():
    with pytest.raises(LookupError):
        reservations.commit(uuid4())


def test_an_unknown_sku_is_named_and_nothing_is_recorded():
    sku, order_id = stocked(5), uuid4()
    with pytest.raises(UnknownSku) as unknown:
        reserved((sku, 1), ("NO-SUCH-SKU", 1), ("NOR-THIS", 1), order_id=order_id)
    assert unknown.value.sku == "NO-SUCH-SKU"
    assert (status_of(order_id), stock_of(sku)) == (None, (5, 0))
    assert announced(order_id) == []


def test_a_variant_off_sale_can_neither_be_quoted_nor_reserved():
    sku = stocked(5)
    editing.edit_variant(sku, actor="staff@example.com", is_active=False)
    with pytest.raises(UnknownSku):
        inventory.quote(skus=(sku,))
    with pytest.raises(UnknownSku):
        reserved((sku, 1))


@pytest.mark.parametrize("wanted", [(), (0,), (-1,), (3, -1)])
def test_a_reservation_is_of_at_least_one_unit_in_each_line(wanted):
    sku, order_id = stocked(5), uuid4()
    with pytest.raises(Invalid):
        inventory.reserve(order_id=order_id, lines=lines(*((sku, n) for n in wanted)), hold=HOLD)
    assert status_of(order_id) is None


def test_the_last_unit_taken_and_given_back_is_announced_in_the_stream_of_the_sku():
    sku, order_id = stocked(2), uuid4()
    reserved((sku, 1))
    assert facts("stock", sku) == []
    reserved((sku, 1), order_id=order_id)
    assert facts("stock", sku) == [(1, "sold_out")]
    inventory.release(order_id=order_id)
    assert facts("stock", sku) == [(1, "sold_out"), (2, "back_in_stock")]


def test_committing_does_not_change_what_is_available_so_nothing_is_announced_of_the_sku():
    sku, order_id = stocked(1), uuid4()
    reserved((sku, 1), order_id=order_id)
    reservations.commit(order_id)
    inventory.release(order_id=order_id)
    assert facts("stock", sku) == [(1, "sold_out"), (2, "back_in_stock")]


def test_a_quote_keeps_the_given_order_and_names_product_and_variant():
    dear, cheap = stocked(1, price=500, name="Teapot"), stocked(0, price=200, name="Mug")
    offers = inventory.quote(skus=(dear, cheap, dear))
    assert [offer.sku for offer in offers] == [dear, cheap, dear]
    assert [(o.name, o.price.amount, o.price.currency, o.available) for o in offers[:2]] == [
        ("Teapot, Size 0", 500, "EUR", 1),
        ("Mug, Size 0", 200, "EUR", 0),
    ]


def test_a_quote_names_the_first_sku_that_is_not_for_sale():
    with pytest.raises(UnknownSku) as unknown:
        inventory.quote(skus=(stocked(1), "NO-1", "NO-2"))
    assert unknown.value.sku == "NO-1"
