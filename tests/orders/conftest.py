"""Fixtures of the tests of orders: a guest, and the guest's cart."""

import pytest

from tests.shopper import InProcessShopper


@pytest.fixture
def shopper() -> InProcessShopper:
    return InProcessShopper()


@pytest.fixture
def cart(shopper: InProcessShopper) -> str:
    return shopper.post("carts").body["id"]
