"""Orders whose events go through a real broker while polling is disabled."""

import uuid
from datetime import timedelta

import pytest

from shop.db.database import fetch_rows
from shop.messaging.celery.app import app
from shop.messaging.celery.beat import Scheduler
from tests.concurrency import eventually
from tests.factories import create_sku, reserve_units
from tests.shop.messaging.celery.conftest import (
    DISABLED_INTERVAL,
    LAYOUT,
    Worker,
    count_unacknowledged,
    is_processed,
    place_confirmed_order,
)

pytestmark = pytest.mark.usefixtures("verified")

BEAT = ("-m", "celery", "-A", "config.celery", "beat")


@pytest.fixture(scope="module", autouse=True)
def workers(start_workers):
    workers = start_workers(*LAYOUT, POLL_SECONDS=DISABLED_INTERVAL)
    yield workers
    assert [worker.stop() for worker in workers] == [0, 0]


def test_events_are_delivered_and_handled(shopper):
    for _ in range(3):
        order = place_confirmed_order(shopper)
        eventually(lambda order=order: is_processed(order))
    eventually(lambda: count_unacknowledged() == 0)


def test_timers_run_when_one_or_two_beats_schedule_them(web, server, connect_to_broker, tmp_path):
    def is_released(order_id):
        return fetch_rows("inventory", "SELECT status FROM inventory_reservation WHERE order_id = %s", [order_id]) == [
            ("released",)
        ]

    order_id = uuid.uuid4()  # no such order exists: inventory announces that it is due, and orders releases it
    reserve_units((create_sku(1), 1), order_id=order_id, hold=timedelta(0))
    beat, second = Worker(tmp_path, web.environment, command=BEAT).start(), Scheduler(app=app)
    try:
        eventually(lambda: is_released(order_id))
        connect_to_broker(server.url)
        for entry in second.schedule.values():
            second.apply_async(entry)
        again = uuid.uuid4()
        reserve_units((create_sku(1), 1), order_id=again, hold=timedelta(0))
        eventually(lambda: is_released(again))
    finally:
        beat.kill()
