"""Many buyers want the last units, each on its own connection. The queue of checkouts takes all of them."""

from contextlib import closing

import pytest

from bench.crowd import OUT_OF_STOCK, SOLD, BuyerResult, Failed, buy_concurrently, find_problem, reserve_descriptors
from tests.concurrency import eventually
from tests.factories import create_sku
from tests.journeys.running_shop import RunningShop
from tests.orders.queries import assert_stock_adds_up, stock_of


@pytest.fixture(scope="module")
def shop():
    with closing(RunningShop(CHECKOUT_QUEUE="200")) as shop:
        yield shop


@pytest.mark.parametrize(("buyers", "units"), [(200, 10), (50, 1)])
def test_exactly_the_available_units_are_sold(shop, buyers, units):
    sku = create_sku(units)
    answers = buy_concurrently(shop.port, sku=sku, buyers=buyers)
    assert (find_problem(answers, units), len(answers)) == ("", buyers)
    eventually(lambda: stock_of(sku) == (0, 0))
    assert_stock_adds_up(sku)


def make_results(**counts: int) -> list[BuyerResult]:
    outcomes = {"sold": SOLD, "out": OUT_OF_STOCK, "broken": "503 shop.unavailable"}
    return [BuyerResult(outcomes[name], 0.1) for name, count in counts.items() for _ in range(count)]


@pytest.mark.parametrize(
    ("answers", "problem"),
    [
        (make_results(sold=2, out=8), ""),
        (make_results(sold=3, out=7), "3 of 2 units were sold"),
        (make_results(sold=1, out=9), "1 of 2 units were sold"),
        (make_results(sold=2, out=7, broken=1), "Unexpected responses: {'503 shop.unavailable': 1}"),
    ],
)
def test_overselling_and_underselling_are_found(answers, problem):
    assert find_problem(answers, 2) == problem


def test_too_many_buyers_for_the_file_limit_are_refused():
    with pytest.raises(Failed, match="open files"):
        reserve_descriptors(10**9)
