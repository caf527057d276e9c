"""Orders whose events go through a real broker, and what becomes of them when it fails."""

import time

import pytest

from shop.database import rows
from tests.celery.conftest import Shop, told
from tests.inventory.stock import stocked
from tests.shopper import Shopper
from tests.threads import eventually

pytestmark = pytest.mark.usefixtures("verified")

NEVER = "3600"  # seconds


@pytest.fixture(scope="module")
def by_broker_alone(broker_server, tmp_path_factory):
    """A shop whose workers look at nothing unasked."""
    shop = Shop(broker_server, tmp_path_factory.mktemp("celery"), POLL_SECONDS=NEVER)
    yield shop
    assert set(shop.stop()) == {0}


def test_events_are_handled_by_messages_alone(by_broker_alone):
    shopper = Shopper(by_broker_alone.web.site)
    for _ in range(3):
        placed = shopper.order(stocked(1))
        assert placed.status == 201
        eventually(lambda order=placed.body: told(order))
    unacknowledged = "SELECT count(*) FROM shop_delivery WHERE acknowledged_at IS NULL"
    eventually(lambda: rows("orders", unacknowledged) == [(0,)])
