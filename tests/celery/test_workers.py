"""Orders whose events go through a real broker, and what becomes of them when it fails, or a worker does."""

import signal
import time
from functools import partial

import pytest
from django.db import connections, transaction
from kombu import Connection, Producer

from config.celery import app, queue
from shop.database import rows
from tests.celery.brokers import Line
from tests.celery.conftest import LAYOUT, NEVER, SOON, Worker, buy, told, undelivered
from tests.inventory.stock import stocked
from tests.threads import eventually

pytestmark = pytest.mark.usefixtures("verified")


@pytest.fixture(scope="module", autouse=True)
def workers(start_workers):
    workers = start_workers(*LAYOUT)
    yield workers
    assert [worker.stop() for worker in workers] == [0, 0]


def test_a_flush_loses_nothing(shopper, server, workers):
    """Envelopes are in the queues, and who reads them is not at it."""
    workers[1].signal(signal.SIGSTOP)
    try:
        orders = [buy(shopper) for _ in range(5)]
        eventually(lambda: server.waiting(queue("inventory")) and server.waiting(queue("notifications")), patience=SOON)
        server.flush()
    finally:
        workers[1].signal(signal.SIGCONT)
    eventually(lambda: all(map(told, orders)), patience=SOON)
    eventually(lambda: undelivered() == 0, patience=SOON)


def test_nobody_ends_a_worker_through_the_broker(shopper, server, connected, workers):
    connected(server.url)
    app.control.broadcast("shutdown")
    order = buy(shopper)
    eventually(lambda: told(order), patience=SOON)
    assert not any(worker.says("shutdown") for worker in workers)


def test_nothing_of_a_message_that_a_worker_cannot_read_is_logged(server, workers):
    """Of no task of ours, of none at all, and of no content at all."""
    said = ("unregistered task of type 'satsuma.nothing'", "unknown message", "Can't decode message body", "invalid task")
    with Connection(server.url) as connection:
        to_users = partial(Producer(connection.channel()).publish, exchange="", routing_key=queue("users"))
        publish = partial(to_users, content_type="application/json")
        publish('["swordfish"]', headers={"task": "satsuma.nothing", "id": "1", "argsrepr": "swordfish"})
        publish('{"what": "swordfish"}')
        publish('{"what": "swordfish"', headers={"argsrepr": "swordfish"})
        publish('["swordfish"]', headers={"task": "satsuma.relay", "id": "1"}, content_type="application/x-swordfish")
    for one in said:
        eventually(lambda one=one: workers[0].says(one), patience=SOON)
    assert "swordfish" not in workers[0].said().replace("application/x-swordfish", "")


def test_a_worker_that_is_killed_loses_nothing(shopper, workers):
    orders = [buy(shopper) for _ in range(5)]
    workers[0].kill()
    orders += [buy(shopper) for _ in range(2)]
    workers[0].start()
    eventually(lambda: all(map(told, orders)), patience=SOON)


def test_orders_are_accepted_and_events_handled_without_a_broker_and_with_it_again(shopper, server, workers):
    with_broker, _ = quickest(shopper)
    server.kill()
    without, orders = quickest(shopper)
    assert without < with_broker + 0.5
    eventually(lambda: all(map(told, orders)), patience=SOON)
    for worker in workers:
        worker.said_before = len(worker.said())
    server.start()
    for worker in workers:
        eventually(lambda worker=worker: worker.says("Connected to"), patience=SOON)
    orders = [buy(shopper)]
    eventually(lambda: workers[1].says('"envelopes_stored"'), lambda: orders.append(buy(shopper)), patience=SOON)
    eventually(lambda: all(map(told, orders)), patience=SOON)


@pytest.fixture
def nothing_can_be_stored():
    """While the lock `storing` is held, whoever stores an envelope in inventory's inbox waits; whoever claims one does not."""
    rows(
        "inventory",
        """CREATE FUNCTION wait_to_store() RETURNS trigger LANGUAGE plpgsql AS
           'BEGIN PERFORM pg_advisory_xact_lock(hashtext(''storing'')); RETURN NULL; END';
           CREATE TRIGGER wait_to_store BEFORE INSERT ON shop_inboxrow FOR EACH STATEMENT EXECUTE FUNCTION wait_to_store()""",
    )
    yield "SELECT pg_advisory_xact_lock(hashtext('storing'))"
    rows("inventory", "DROP FUNCTION wait_to_store CASCADE")


def test_a_broker_that_dies_while_a_worker_has_envelopes_in_hand_does_not_end_it(
    shopper, server, workers, nothing_can_be_stored
):
    [_, worker] = workers
    worker.said_before = len(worker.said())
    skus = [stocked(1) for _ in range(3)]
    with transaction.atomic("inventory"), connections["inventory"].cursor() as cursor:
        cursor.execute(nothing_can_be_stored)
        orders = [shopper.order(sku).body for sku in skus]
        eventually(storing, patience=SOON)
        server.kill()
        eventually(lambda: worker.says("Connection to broker lost"), patience=SOON)
        eventually(lambda: worker.says("Cannot connect to"), patience=SOON)
    eventually(lambda: worker.says('"envelopes_stored"'), patience=SOON)
    server.start()
    eventually(lambda: worker.says("Connected to"), patience=SOON)
    orders.append(buy(shopper))
    eventually(lambda: all(map(told, orders)), patience=SOON)
    assert worker.process.poll() is None


def storing():
    """Whether somebody waits to store an envelope in inventory's inbox."""
    return bool(rows("inventory", "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"))



def quickest(shopper):
    """Seconds that the quickest of some orders took, and the orders."""
    times, orders = [], []
    for _ in range(4):
        sku, began = stocked(1), time.monotonic()
        placed = shopper.order(sku)
        times.append(time.monotonic() - began)
        assert placed.status == 201
        orders.append(placed.body)
    return min(times), orders


def test_a_worker_whose_connection_is_half_dead_starts_anew(web, server, tmp_path):
    """Its line goes dead without a word; whoever connects anew is heard."""
    line = Line(server.port)
    url = server.url.replace(str(server.port), str(line.port))
    environment = web.environment | {"BROKER_URL": url, "WATCHDOG_SECONDS": "1", "POLL_SECONDS": NEVER}
    worker = Worker(tmp_path, environment, "inventory", command=("-m", "config.worker")).start()
    try:
        worker.await_ready()
        line.die()
        eventually(lambda: worker.says('"consumer_stopped"'), patience=SOON)
        worker.await_ready(times=2)
        assert worker.stop() == 0
    finally:
        line.close()
        worker.kill()
