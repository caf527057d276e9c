"""The last units and a crowd, each buyer with a connection of its own, against two workers of a real server."""

import pytest

from bench.crowd import OUT, SOLD, Answered, Failed, room_for, rush, wrong
from tests.inventory.stock import stocked
from tests.journeys.conftest import RunningShop
from tests.orders.books import stock_of, units_add_up
from tests.threads import eventually


@pytest.fixture(scope="module")
def shop():
    """Laid out as in production."""
    shop = RunningShop(GRANIAN_WORKERS="2", DATABASE_POOL_SIZE="16")
    yield shop
    shop.stop()


@pytest.mark.parametrize(("buyers", "units"), [(200, 10), (50, 1)])
def test_exactly_what_there_is_is_sold(shop, buyers, units):
    sku = stocked(units)
    answers = rush(shop.port, sku=sku, buyers=buyers)
    assert (wrong(answers, units), len(answers)) == ("", buyers)
    eventually(lambda: stock_of(sku) == (0, 0), patience=30)
    units_add_up(sku)


def heard(**often: int) -> list[Answered]:
    said = {"sold": SOLD, "out": OUT, "broken": "503 shop.unavailable"}
    return [Answered(said[what], 0.1) for what, number in often.items() for _ in range(number)]


@pytest.mark.parametrize(
    ("answers", "complaint"),
    [
        (heard(sold=2, out=8), ""),
        (heard(sold=3, out=7), "3 were sold of 2"),
        (heard(sold=1, out=9), "1 were sold of 2"),
        (heard(sold=2, out=7, broken=1), "Somebody heard something else: {'503 shop.unavailable': 1}"),
    ],
)
def test_one_too_many_and_one_too_few_are_noticed(answers, complaint):
    assert wrong(answers, 2) == complaint


def test_a_crowd_that_has_no_room_is_told_so():
    with pytest.raises(Failed, match="open files"):
        room_for(10**9)
