"""Transitions of a reservation: reserve, release and commit in every state."""

from typing import get_args, get_type_hints
from uuid import uuid4

import pytest

from contexts.inventory.interface import (
    Line,
    Offer,
    OutOfStock,
    Reservation,
    ReservationStatus,
    UnknownSku,
    inventory,
)
from contexts.inventory.service import catalogue_editing, reservations
from shop.errors import Closed, Invalid
from shop.money import Money
from tests.factories import HOLD_DURATION, create_sku, order_lines, reserve_units
from tests.inventory.queries import assert_stock_adds_up, movements, published_events, reservation_status_of, stock_of


@pytest.fixture(autouse=True)
def assert_consistent_stock():
    yield
    assert_stock_adds_up()


def published_names(order_id):
    return [name for _, name in published_events("reservation", order_id)]


def reserve_expecting_refusal(sku, order_id, quantity):
    with pytest.raises(OutOfStock) as refusal:
        reserve_units((sku, quantity), order_id=order_id)
    return refusal.value.facts


def test_the_interface_declares_every_status():
    assert get_args(get_type_hints(Reservation)["status"]) == tuple(ReservationStatus)


def test_reserved_units_stay_on_hand_and_cannot_be_bought():
    sku = create_sku(5)
    reservation = reserve_units((sku, 2))
    assert (reservation.status, reservation.lines) == ("held", (Line(sku=sku, quantity=2),))
    assert stock_of(sku) == (5, 2)
    assert inventory.quote(skus=(sku,))[0].available == 3
    assert published_names(reservation.order_id) == ["reservation_held"]


def test_reserving_again_returns_the_same_reservation_and_publishes_nothing():
    sku, order_id = create_sku(5), uuid4()
    first = reserve_units((sku, 2), order_id=order_id)
    assert reserve_units((sku, 2), order_id=order_id) == first
    assert stock_of(sku) == (5, 2)
    assert published_names(order_id) == ["reservation_held"]


def test_lines_of_the_same_sku_count_together():
    sku, order_id = create_sku(3), uuid4()
    with pytest.raises(OutOfStock):
        reserve_units((sku, 2), (sku, 2), order_id=order_id)
    assert reserve_units((sku, 2), (sku, 1)).lines == (Line(sku=sku, quantity=3),)
    assert stock_of(sku) == (3, 3)


def test_all_lines_are_reserved_or_none():
    plenty, few, order_id = create_sku(10), create_sku(1), uuid4()
    with pytest.raises(OutOfStock) as refusal:
        reserve_units((plenty, 3), (few, 2), order_id=order_id)
    assert refusal.value.facts == {"sku": few, "available": 1}
    assert (stock_of(plenty), stock_of(few)) == ((10, 0), (1, 0))
    assert reservation_status_of(order_id) == "refused"


def test_a_refusal_is_repeated_even_after_a_restock():
    sku, order_id, other = create_sku(1), uuid4(), uuid4()
    reserve_units((sku, 1), order_id=other)
    assert reserve_expecting_refusal(sku, order_id, 1) == {"sku": sku, "available": 0}
    inventory.release(order_id=other)
    assert reserve_expecting_refusal(sku, order_id, 1) == {"sku": sku, "available": 0}
    assert published_names(order_id) == ["reservation_refused"]


def test_releasing_a_refused_reservation_changes_nothing():
    sku, order_id = create_sku(1), uuid4()
    reserve_expecting_refusal(sku, order_id, 2)
    assert inventory.release(order_id=order_id).status == "refused"
    assert reserve_expecting_refusal(sku, order_id, 2) == {"sku": sku, "available": 1}
    assert published_names(order_id) == ["reservation_refused"]


def test_released_units_are_available_again_and_a_later_reserve_is_closed():
    sku, order_id = create_sku(2), uuid4()
    reserve_units((sku, 2), order_id=order_id)
    released = inventory.release(order_id=order_id)
    assert (released.status, released.lines) == ("released", (Line(sku=sku, quantity=2),))
    assert inventory.release(order_id=order_id) == released
    assert stock_of(sku) == (2, 0)
    with pytest.raises(Closed) as closed:
        reserve_units((sku, 2), order_id=order_id)
    assert closed.value.key == str(order_id)
    assert published_names(order_id) == ["reservation_held", "reservation_released"]


def test_releasing_an_unknown_order_leaves_a_tombstone():
    sku, order_id = create_sku(2), uuid4()
    tombstone = inventory.release(order_id=order_id)
    assert (tombstone.status, tombstone.lines) == ("released", ())
    with pytest.raises(Closed):
        reserve_units((sku, 1), order_id=order_id)
    assert inventory.release(order_id=order_id) == tombstone
    assert stock_of(sku) == (2, 0)
    assert published_events("reservation", order_id) == [(1, "reservation_released")]


def test_committed_units_leave_on_hand():
    sku, order_id = create_sku(5), uuid4()
    reserve_units((sku, 2), order_id=order_id)
    reservations.commit(order_id)
    assert stock_of(sku) == (3, 0)
    assert movements(sku) == [("sale", -2)]
    assert published_names(order_id) == ["reservation_held", "reservation_committed"]


def test_committing_twice_sells_once():
    sku, order_id = create_sku(5), uuid4()
    reserve_units((sku, 2), order_id=order_id)
    reservations.commit(order_id)
    reservations.commit(order_id)
    assert movements(sku) == [("sale", -2)]


def test_reserving_a_committed_order_again_returns_the_committed_reservation():
    sku, order_id = create_sku(5), uuid4()
    reserve_units((sku, 2), order_id=order_id)
    reservations.commit(order_id)
    assert reserve_units((sku, 2), order_id=order_id).status == "committed"
    assert stock_of(sku) == (3, 0)


def test_releasing_a_committed_reservation_restocks_the_units_once():
    sku, order_id = create_sku(5), uuid4()
    reserve_units((sku, 2), order_id=order_id)
    reservations.commit(order_id)
    restocked = inventory.release(order_id=order_id)
    assert restocked.status == "restocked"
    assert inventory.release(order_id=order_id) == restocked
    assert stock_of(sku) == (5, 0)
    assert movements(sku) == [("sale", -2), ("restock", 2)]
    with pytest.raises(Closed):
        reserve_units((sku, 2), order_id=order_id)
    assert published_names(order_id) == ["reservation_held", "reservation_committed", "reservation_released"]


@pytest.mark.parametrize("is_released", [True, False], ids=["released", "refused"])
def test_committing_a_released_or_refused_reservation_is_ignored(is_released):
    sku, order_id = create_sku(1), uuid4()
    if is_released:
        inventory.release(order_id=order_id)
    else:
        reserve_expecting_refusal(sku, order_id, 2)
    before = published_names(order_id)
    reservations.commit(order_id)
    assert stock_of(sku) == (1, 0)
    assert published_names(order_id) == before


def test_committing_an_order_without_a_reservation_is_an_error():
    with pytest.raises(LookupError):
        reservations.commit(uuid4())


def test_an_unknown_sku_is_named_and_nothing_is_recorded():
    sku, order_id = create_sku(5), uuid4()
    with pytest.raises(UnknownSku) as unknown:
        reserve_units((sku, 1), ("NO-SUCH-SKU", 1), ("NOR-THIS", 1), order_id=order_id)
    assert unknown.value.sku == "NO-SUCH-SKU"
    assert (reservation_status_of(order_id), stock_of(sku)) == (None, (5, 0))
    assert published_names(order_id) == []


def test_a_variant_off_sale_can_neither_be_quoted_nor_reserved():
    sku = create_sku(5)
    catalogue_editing.update_variant(sku, actor="staff@example.com", is_active=False)
    with pytest.raises(UnknownSku):
        inventory.quote(skus=(sku,))
    with pytest.raises(UnknownSku):
        reserve_units((sku, 1))


@pytest.mark.parametrize("quantities", [(), (0,), (-1,), (3, -1)])
def test_each_line_needs_at_least_one_unit(quantities):
    sku, order_id = create_sku(5), uuid4()
    with pytest.raises(Invalid):
        inventory.reserve(order_id=order_id, lines=order_lines(*((sku, n) for n in quantities)), hold=HOLD_DURATION)
    assert reservation_status_of(order_id) is None


def test_sold_out_and_back_in_stock_are_published_in_the_stream_of_the_sku():
    sku, order_id = create_sku(2), uuid4()
    reserve_units((sku, 1))
    assert published_events("stock", sku) == []
    reserve_units((sku, 1), order_id=order_id)
    assert published_events("stock", sku) == [(1, "sold_out")]
    inventory.release(order_id=order_id)
    assert published_events("stock", sku) == [(1, "sold_out"), (2, "back_in_stock")]


def test_committing_publishes_nothing_in_the_stream_of_the_sku():
    sku, order_id = create_sku(1), uuid4()
    reserve_units((sku, 1), order_id=order_id)
    reservations.commit(order_id)
    inventory.release(order_id=order_id)
    assert published_events("stock", sku) == [(1, "sold_out"), (2, "back_in_stock")]


def test_a_quote_keeps_the_given_order_and_names_product_and_variant():
    teapot, mug = create_sku(1, price=500, name="Teapot"), create_sku(0, price=200, name="Mug")
    assert inventory.quote(skus=(teapot, mug, teapot)) == (
        Offer(sku=teapot, name="Teapot, Size 0", price=Money(500, "EUR"), available=1),
        Offer(sku=mug, name="Mug, Size 0", price=Money(200, "EUR"), available=0),
        Offer(sku=teapot, name="Teapot, Size 0", price=Money(500, "EUR"), available=1),
    )


def test_a_quote_names_the_first_sku_that_is_not_for_sale():
    with pytest.raises(UnknownSku) as unknown:
        inventory.quote(skus=(create_sku(1), "NO-1", "NO-2"))
    assert unknown.value.sku == "NO-1"
