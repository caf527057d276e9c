"""A context's database moves while the shop sells: nothing is lost or doubled, there, back, and wherever it is cut off."""

import json

import pytest

from tests.peel.moving import Buyers, MovingShop
from tests.threads import eventually


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    shop = MovingShop(tmp_path_factory.mktemp("peel"))
    try:
        shop.start()
        yield shop
    finally:
        shop.end()


@pytest.fixture(scope="module")
def customer(shop):
    return shop.serve()


def at_rest(shop) -> dict:
    """What `verify` says once all is handled."""
    return eventually(
        lambda: (found := json.loads(shop.manage("verify", "--at-rest", "--json").stdout))["violations"] == [] and found,
        patience=30,
    )


def test_payments_moves_and_comes_back_while_customers_buy(shop, customer):
    with Buyers(customer) as buyers:
        eventually(lambda: len(buyers.orders) > 5)
        moved = shop.peel("payments", "moved")
        assert moved.returncode == 0, moved.stderr
        there = len(buyers.orders)
        eventually(lambda: len(buyers.orders) > there + 5)
        back = shop.peel("payments", "moved", "--rollback")
        assert back.returncode == 0, back.stderr
        again = len(buyers.orders)
        eventually(lambda: len(buyers.orders) > again + 5)
    print(moved.stdout, back.stdout, buyers.longest, buyers.statuses)
    assert buyers.broken == []
    assert len(set(buyers.orders.values())) == len(buyers.orders)
    at_rest(shop)
