"""A message is finished when what it brought is stored, not when somebody has taken it."""

from functools import partial

import pytest

from config.celery import queue
from config.messages import carry
from shop import relay
from shop.database import rows
from shop.engine import run_until_idle
from tests.celery.conftest import NEVER, buy, undelivered
from tests.shop.server import name_of, session, superuser
from tests.threads import eventually

pytestmark = pytest.mark.usefixtures("verified")

WAITING = "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"


def test_a_worker_that_is_killed_while_it_stores_leaves_the_message_with_the_broker(server, shopper, connected, start_workers):
    server.flush()
    connected(server.url)
    [worker] = start_workers(("notifications",), POLL_SECONDS=NEVER, WATCHDOG_SECONDS=NEVER)
    buy(shopper)
    with session(name_of("notifications")) as other:
        other.execute("LOCK TABLE shop_inboxrow")
        relay.deliver_due("orders", send=carry)
        eventually(partial(superuser, WAITING, [name_of("notifications")]))
        worker.kill()
    eventually(lambda: server.kept(queue("notifications")) == 1)
    assert undelivered() == 2
    rows("orders", "UPDATE shop_delivery SET due_at = now() WHERE acknowledged_at IS NULL")
    run_until_idle()
