"""Orders whose events go through a real broker, and nothing looks at them unasked."""

import uuid
from datetime import timedelta

import pytest

from config.beat import Scheduler
from config.celery import app
from shop.database import rows
from tests.celery.conftest import LAYOUT, NEVER, SOON, Worker, buy, told, undelivered
from tests.inventory.stock import reserved, stocked
from tests.threads import eventually

pytestmark = pytest.mark.usefixtures("verified")

BEAT = ("-m", "celery", "-A", "config.celery", "beat")


@pytest.fixture(scope="module", autouse=True)
def workers(start_workers):
    workers = start_workers(*LAYOUT, POLL_SECONDS=NEVER)
    yield workers
    assert [worker.stop() for worker in workers] == [0, 0]


def test_events_are_delivered_and_handled(shopper):
    for _ in range(3):
        order = buy(shopper)
        eventually(lambda order=order: told(order))
    eventually(lambda: undelivered() == 0)


def test_timers_run_as_often_as_beat_says_so_by_two_voices_too(web, server, connected, tmp_path):
    def freed(order_id):
        return rows("inventory", "SELECT status FROM inventory_reservation WHERE order_id = %s", [order_id]) == [("released",)]

    order_id = uuid.uuid4()  # of nobody's order: inventory announces that it is due, orders lets it go
    reserved((stocked(1), 1), order_id=order_id, hold=timedelta(0))
    beat, second = Worker(tmp_path, web.environment, command=BEAT).start(), Scheduler(app=app)
    try:
        eventually(lambda: freed(order_id), patience=SOON)
        connected(server.url)
        for entry in second.schedule.values():
            second.apply_async(entry)
        again = uuid.uuid4()
        reserved((stocked(1), 1), order_id=again, hold=timedelta(0))
        eventually(lambda: freed(again), patience=SOON)
    finally:
        beat.kill()
