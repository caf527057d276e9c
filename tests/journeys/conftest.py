"""Fixtures: a shop in a process of its own, and a customer of it."""

from contextlib import ExitStack, closing

import pytest

from tests.journeys.running_shop import RunningShop, start_shop


@pytest.fixture(scope="module")
def running_shop():
    """Start a shop in one process, in every topology."""
    with closing(RunningShop()) as shop:
        yield shop


@pytest.fixture(scope="module")
def shop():
    """Start a shop that all tests of a module share."""
    with closing(start_shop()) as shop:
        yield shop
        assert shop.stop() == 0


@pytest.fixture
def launch_shop():
    """Return a function that starts a shop. All of them are closed after the test, even if it fails."""
    with ExitStack() as shops:
        yield lambda *arguments, **environment: shops.enter_context(closing(start_shop(*arguments, **environment)))


@pytest.fixture
def shopper(shop):
    return shop.shopper()
