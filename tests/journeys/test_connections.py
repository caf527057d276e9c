"""Connections of a running shop to its database server: few when it is idle, within the budget when it is busy."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

import pytest
from django.conf import settings
from django.db import connections

from tests.concurrency import eventually
from tests.factories import create_sku
from tests.journeys.running_shop import RunningShop
from tests.shop.db.session_observer import observing
from tests.shop.db.superuser_session import execute_as_superuser

PROCESSES = 2  # each with 20 threads: 8 for requests and 12 of its engine
BUYERS, ORDERS = 8, 4
MAX_IDLE_CONNECTIONS = 10  # of a process, two for each database; a connection for each thread of an engine would be 20
SESSIONS_SQL = """
SELECT pid, backend_start FROM pg_stat_activity WHERE starts_with(datname, %s) AND backend_type = 'client backend'"""


def count_sessions() -> int:
    """Return the number of sessions on the databases of the shop, those of probes and the directory included."""
    return len(execute_as_superuser(SESSIONS_SQL, [settings.DATABASE_PREFIX]))


def close_own_connections() -> None:
    """Close those of the test process, so that only the shop has any."""
    connections.close_all()
    for alias in settings.CONTEXTS:
        connections[alias].close_pool()
    eventually(lambda: count_sessions() == 0)


@pytest.mark.parametrize("budget", [5, 12])
def test_an_idle_shop_has_few_connections_and_a_busy_one_keeps_to_its_budget(budget):
    """Fewer than the threads that need one: a request may have to repeat, but no thread waits for ever."""
    sku = create_sku(BUYERS * ORDERS)
    close_own_connections()
    limits = {"DATABASE_CONNECTIONS": str(budget), "DATABASE_IDLE_CONNECTION_SECONDS": "1"}
    with ExitStack() as stack:
        shops = [stack.enter_context(closing(RunningShop(**limits))) for _ in range(PROCESSES)]

        def order(key: str, number: int) -> bool:
            response = shops[number % PROCESSES].shopper().order(sku, key=key)
            if response.status == 503:
                assert int(response.headers["retry-after"]) >= 1
            else:
                assert response.status in (201, 202, 409), response.body
            return response.status == 201

        def buy(number: int) -> None:
            for _ in range(ORDERS):
                key = uuid.uuid4().hex
                eventually(lambda key=key: order(key, number))

        with observing(SESSIONS_SQL, settings.DATABASE_PREFIX) as counts, ThreadPoolExecutor(BUYERS) as buyers:
            list(buyers.map(buy, range(BUYERS)))
        busiest = max(counts)
        print(f"{PROCESSES} busy processes with {budget} each: {busiest} connections")
        assert budget < busiest <= PROCESSES * budget  # more than one process has: they were all busy
        eventually(lambda: count_sessions() <= PROCESSES * min(budget, MAX_IDLE_CONNECTIONS))
        assert count_sessions() <= PROCESSES * budget
