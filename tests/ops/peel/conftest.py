import pytest

from tests.ops.peel.moving_shop import MovingShop


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    shop = MovingShop(tmp_path_factory.mktemp("peel"))
    try:
        shop.start()
        yield shop
    finally:
        shop.stop_all()


@pytest.fixture(scope="module")
def customer(shop):
    return shop.serve()
