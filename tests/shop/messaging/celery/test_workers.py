"""Orders whose events go through a real broker while the broker or a worker fails."""

import signal
import time
from functools import partial

import pytest
from django.db import connections, transaction
from kombu import Connection, Producer

from shop.db.database import fetch_rows
from shop.messaging.celery.app import app, get_queue_name
from tests.concurrency import eventually
from tests.factories import create_sku
from tests.shop.messaging.celery.brokers import BrokerProxy
from tests.shop.messaging.celery.conftest import (
    DISABLED_INTERVAL,
    LAYOUT,
    Worker,
    count_unacknowledged,
    is_processed,
    place_confirmed_order,
)

pytestmark = pytest.mark.usefixtures("verified")


@pytest.fixture(scope="module", autouse=True)
def workers(start_workers):
    workers = start_workers(*LAYOUT)
    yield workers
    assert [worker.stop() for worker in workers] == [0, 0]


def test_a_flush_loses_nothing(shopper, server, workers):
    """The queues have envelopes while their worker is suspended."""
    workers[1].signal(signal.SIGSTOP)
    try:
        orders = [place_confirmed_order(shopper) for _ in range(5)]
        eventually(
            lambda: (
                server.count_undelivered(get_queue_name("inventory"))
                and server.count_undelivered(get_queue_name("notifications"))
            ),
        )
        server.flush()
    finally:
        workers[1].signal(signal.SIGCONT)
    eventually(lambda: all(map(is_processed, orders)))
    eventually(lambda: count_unacknowledged() == 0)


def test_a_worker_cannot_be_shut_down_through_the_broker(shopper, server, connect_to_broker, workers):
    connect_to_broker(server.url)
    app.control.broadcast("shutdown")
    order = place_confirmed_order(shopper)
    eventually(lambda: is_processed(order))
    assert not any(worker.has_logged("shutdown") for worker in workers)


def test_the_content_of_an_unreadable_message_is_not_logged(server, workers):
    """An unknown task, no task, invalid JSON, and an unknown content type."""
    logged = (
        "unregistered task of type 'satsuma.nothing'",
        "unknown message",
        "Can't decode message body",
        "invalid task",
    )
    server.count_undelivered(get_queue_name("users"))  # declares the queue, which a restarted broker may not have yet
    with Connection(server.url) as connection:
        to_users = partial(Producer(connection.channel()).publish, exchange="", routing_key=get_queue_name("users"))
        publish = partial(to_users, content_type="application/json")
        publish('["swordfish"]', headers={"task": "satsuma.nothing", "id": "1", "argsrepr": "swordfish"})
        publish('{"what": "swordfish"}')
        publish('{"what": "swordfish"', headers={"argsrepr": "swordfish"})
        publish('["swordfish"]', headers={"task": "satsuma.relay", "id": "1"}, content_type="application/x-swordfish")
    for text in logged:
        eventually(lambda text=text: workers[0].has_logged(text))
    assert "swordfish" not in workers[0].read_log().replace("application/x-swordfish", "")


def test_a_killed_worker_loses_nothing(shopper, workers):
    orders = [place_confirmed_order(shopper) for _ in range(5)]
    workers[0].kill()
    orders += [place_confirmed_order(shopper) for _ in range(2)]
    workers[0].start()
    eventually(lambda: all(map(is_processed, orders)))


def test_orders_and_events_are_processed_while_the_broker_is_down_and_after(shopper, server, workers):
    with_broker, _ = measure_fastest_order(shopper)
    server.kill()
    without, orders = measure_fastest_order(shopper)
    assert without < with_broker + 0.5
    eventually(lambda: all(map(is_processed, orders)))
    for worker in workers:
        worker.log_offset = len(worker.read_log())
    server.start()
    for worker in workers:
        eventually(lambda worker=worker: worker.has_logged("Connected to"))
    orders = [place_confirmed_order(shopper)]
    eventually(
        lambda: workers[1].has_logged('"envelopes_stored"'),
        lambda: orders.append(place_confirmed_order(shopper)),
    )
    eventually(lambda: all(map(is_processed, orders)))


def test_a_worker_polls_for_what_no_message_announces(shopper, server, start_workers):
    """The broker is down, and nothing else wakes the workers up."""
    start_workers(*LAYOUT, POLL_SECONDS="0.2", WATCHDOG_SECONDS=DISABLED_INTERVAL)
    server.kill()
    try:
        order = place_confirmed_order(shopper)
        eventually(lambda: is_processed(order))
    finally:
        server.start()


@pytest.fixture
def blocked_inbox():
    """SQL that takes a lock. While it is held, inserts into inventory's inbox wait; claims do not."""
    fetch_rows(
        "inventory",
        """CREATE FUNCTION wait_to_store() RETURNS trigger LANGUAGE plpgsql AS
           'BEGIN PERFORM pg_advisory_xact_lock(hashtext(''storing'')); RETURN NULL; END';
           CREATE TRIGGER wait_to_store BEFORE INSERT ON shop_inboxrow FOR EACH STATEMENT EXECUTE FUNCTION wait_to_store()""",
    )
    yield "SELECT pg_advisory_xact_lock(hashtext('storing'))"
    fetch_rows("inventory", "DROP FUNCTION wait_to_store CASCADE")


def test_a_worker_survives_a_broker_crash_while_it_stores_envelopes(shopper, server, workers, blocked_inbox):
    [_, worker] = workers
    worker.log_offset = len(worker.read_log())
    skus = [create_sku(1) for _ in range(3)]
    with transaction.atomic("inventory"), connections["inventory"].cursor() as cursor:
        cursor.execute(blocked_inbox)
        orders = [shopper.order(sku).body for sku in skus]
        eventually(is_storing_blocked)
        server.kill()
        eventually(lambda: worker.has_logged("Connection to broker lost"))
        eventually(lambda: worker.has_logged("Cannot connect to"))
    eventually(lambda: worker.has_logged('"envelopes_stored"'))
    server.start()
    eventually(lambda: worker.has_logged("Connected to"))
    orders.append(place_confirmed_order(shopper))
    eventually(lambda: all(map(is_processed, orders)))
    assert worker.process.poll() is None
    lines = worker.read_log()[worker.log_offset :].splitlines()
    assert [line for line in lines if '"level": "error"' in line] == [], (
        "an outage of the broker is no error of the shop"
    )
    assert worker.stop() == 0, "it ended because of the lost connection"
    worker.start().await_ready()


def is_storing_blocked():
    """Check that a session waits to store an envelope in inventory's inbox."""
    return bool(fetch_rows("inventory", "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"))


def measure_fastest_order(shopper):
    """Place some orders. Returns the seconds of the fastest one, and all orders."""
    times, orders = [], []
    for _ in range(4):
        sku, started = create_sku(1), time.monotonic()
        placed = shopper.order(sku)
        times.append(time.monotonic() - started)
        assert placed.status == 201
        orders.append(placed.body)
    return min(times), orders


def test_a_worker_with_a_half_open_connection_restarts_its_consumer(web, server, tmp_path):
    """Its open connection stops carrying data without an error, while new connections work."""
    proxy = BrokerProxy(server.port)
    url = server.url.replace(str(server.port), str(proxy.port))
    environment = web.environment | {"BROKER_URL": url, "WATCHDOG_SECONDS": "1", "POLL_SECONDS": DISABLED_INTERVAL}
    worker = Worker(tmp_path, environment, "inventory", command=("-m", "ops.launch.worker")).start()
    try:
        worker.await_ready()
        proxy.cut_open_connections()
        eventually(lambda: worker.has_logged('"consumer_stopped"'))
        worker.await_ready(times=2)
        assert worker.stop() == 0
    finally:
        proxy.close()
        worker.kill()
