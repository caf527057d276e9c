"""Fixtures: one broker for the whole folder, a manual worker in this process, and a web process with workers."""

import os
import signal
import subprocess
import sys
from contextlib import closing

import pytest
from django.conf import settings

from shop.db.database import fetch_rows
from shop.messaging.celery import broker as broker_module
from shop.messaging.celery.app import app
from shop.messaging.celery.broker import broker
from tests.concurrency import eventually
from tests.factories import create_sku
from tests.journeys.running_shop import RunningShop
from tests.leaks import OWNER_MARK
from tests.shop.conftest import letter
from tests.shop.messaging.celery.brokers import BROKERS
from tests.shop.messaging.celery.manual_worker import ManualWorker
from tests.shopper import Shopper

__all__ = ["letter"]


DISABLED_INTERVAL = "3600"  # seconds
TIMEOUT_SECONDS = 30.0  # long enough for a busy machine
SUBSCRIBERS = tuple(settings.SUBSCRIPTIONS["orders.order_confirmed"])
# The contexts of two workers: the second one stores and handles what the first one publishes.
LAYOUT = (tuple(context for context in settings.ALL_CONTEXTS if context not in SUBSCRIBERS), SUBSCRIBERS)


@pytest.fixture(scope="package", params=BROKERS, ids=lambda kind: kind.__name__.lower())
def server(request, tmp_path_factory):
    """Run a broker for all tests of this folder."""
    server = request.param(tmp_path_factory.mktemp("broker"))
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def connect_to_broker():
    """Connect this process to a broker at an address."""

    def connect(url):
        forget_connections()
        app.conf.broker_url = url

    yield connect
    forget_connections()


def forget_connections():
    broker._close_connection()
    broker.paused_until = 0.0
    broker.queue_lengths.clear()
    app.amqp.__dict__.pop("_producer_pool", None)


@pytest.fixture
def manual_worker(server, connect_to_broker, letter, monkeypatch):
    """Make this process a worker of all contexts that takes one message at a time.

    The broker timeout is long, so that a busy machine does not count as a slow broker.
    """
    monkeypatch.setattr(broker_module, "BROKER_TIMEOUT_SECONDS", TIMEOUT_SECONDS)
    connect_to_broker(server.url)
    with ManualWorker(server.url) as worker:
        yield worker


class Worker:
    """A process of `manage.py worker`, or of its parent, and its log."""

    def __init__(self, folder, environment, *contexts, command=("manage.py", "worker")):
        self.log = folder / f"{id(self)}.log"
        self.contexts, self.environment, self.command = contexts, environment, command
        self.log_offset = 0

    def start(self):
        self.log_offset = len(self.read_log())
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *self.command, *self.contexts],
                cwd=settings.BASE_DIR,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self

    def read_log(self):
        return self.log.read_text() if self.log.exists() else ""

    def has_logged(self, text, times=1):
        """Check that the log has the text, at least `times` times since the start."""
        assert self.process.poll() is None, self.read_log()[-3000:]
        return self.read_log()[self.log_offset :].count(text) >= times

    def await_ready(self, times=1):
        eventually(lambda: self.has_logged(" ready.", times))

    def signal(self, number):
        """Send a signal to all of its processes, if it runs."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)

    def kill(self):
        """Kill all of its processes."""
        self.signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        """Stop it with SIGTERM, even if it is suspended. Returns the exit status."""
        if self.process.poll() is None:
            self.signal(signal.SIGCONT)
            self.process.terminate()
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
            raise


@pytest.fixture(scope="package")
def web(server, tmp_path_factory):
    """Run a web process, which sends wake-ups to the workers."""
    with (
        (tmp_path_factory.mktemp("web") / "log").open("ab") as log,
        closing(RunningShop(output=log, ENGINE="celery", BROKER_URL=server.url, LOG_LEVEL="INFO")) as shop,
    ):
        yield shop
        assert shop.stop() == 0


@pytest.fixture(scope="module")
def start_workers(web, tmp_path_factory):
    """Start one worker per tuple of contexts, with these environment variables; stop all of them at the end."""
    started = []

    owner = {OWNER_MARK: os.environ[OWNER_MARK]}  # a worker that one test starts serves the others too

    def start(*layout, **environment):
        variables = web.environment | owner | environment
        workers = [Worker(tmp_path_factory.mktemp("workers"), variables, *contexts).start() for contexts in layout]
        started.extend(workers)
        for worker in workers:
            worker.await_ready()
        return workers

    yield start
    for worker in started:
        worker.stop()


@pytest.fixture
def shopper(web):
    return Shopper(web.site)


def place_confirmed_order(shopper):
    """Place an order of a new product, and check that it is confirmed."""
    placed = shopper.order(create_sku(1))
    assert placed.status == 201
    return placed.body


def is_processed(order):
    """Check that both subscribers of the confirmed order are done: its message exists and its stock is committed."""
    messages = fetch_rows(
        "notifications", "SELECT template FROM notifications_message WHERE subject_id = %s", [order["id"]]
    )
    reservations = fetch_rows(
        "inventory", "SELECT status FROM inventory_reservation WHERE order_id = %s", [order["id"]]
    )
    return messages == [("order_confirmed",)] and reservations == [("committed",)]


def count_unacknowledged():
    """Count the deliveries of orders that are not acknowledged."""
    [(count,)] = fetch_rows("orders", "SELECT count(*) FROM shop_delivery WHERE acknowledged_at IS NULL")
    return count
