"""A message is acknowledged when its content is stored, not when a worker receives it."""

from functools import partial

import pytest

from shop.db.database import fetch_rows
from shop.messaging import relay
from shop.messaging.celery.app import get_queue_name
from shop.messaging.celery.broker import send_envelopes
from shop.messaging.engine import run_until_idle
from tests.concurrency import eventually
from tests.shop.db.superuser_session import database_name, execute_as_superuser, open_superuser_session
from tests.shop.messaging.celery.conftest import DISABLED_INTERVAL, count_unacknowledged, place_confirmed_order

pytestmark = pytest.mark.usefixtures("verified")

LOCK_WAITS_SQL = "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"


def test_a_message_stays_with_the_broker_when_its_worker_is_killed_while_storing(
    server, shopper, connect_to_broker, start_workers
):
    server.flush()
    connect_to_broker(server.url)
    [worker] = start_workers(("notifications",), POLL_SECONDS=DISABLED_INTERVAL, WATCHDOG_SECONDS=DISABLED_INTERVAL)
    place_confirmed_order(shopper)
    with open_superuser_session(database_name("notifications")) as session:
        session.execute("LOCK TABLE shop_inboxrow")
        relay.deliver_due("orders", send=send_envelopes)
        eventually(partial(execute_as_superuser, LOCK_WAITS_SQL, [database_name("notifications")]))
        worker.kill()
    eventually(lambda: server.count_unfinished(get_queue_name("notifications")) == 1)
    assert count_unacknowledged() == 2
    fetch_rows("orders", "UPDATE shop_delivery SET due_at = now() WHERE acknowledged_at IS NULL")
    run_until_idle()
