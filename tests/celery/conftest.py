"""One broker for all tests of the folder; a worker by hand, and, where processes are needed, a shop and its workers."""

import os
import signal
import subprocess
import sys

import pytest
from django.conf import settings

from config import messages
from config.celery import app
from config.messages import broker
from shop.database import rows
from tests.celery.brokers import BROKERS
from tests.celery.hand import ByHand
from tests.inventory.stock import stocked
from tests.journeys.conftest import RunningShop
from tests.shop.conftest import letter
from tests.shopper import Shopper
from tests.threads import eventually

__all__ = ["letter"]


NEVER = "3600"  # seconds
SOON = 30.0  # seconds, on a busy machine
LAYOUT = (("orders", "payments", "users"), ("inventory", "notifications"))  # of two workers


@pytest.fixture(scope="package", params=BROKERS, ids=lambda kind: kind.__name__.lower())
def server(request, tmp_path_factory):
    """The broker."""
    server = request.param(tmp_path_factory.mktemp("broker"))
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def connected():
    """Connect this process to a broker at an address."""

    def connect(url):
        forget_connections()
        app.conf.broker_url = url

    yield connect
    forget_connections()


def forget_connections():
    broker._hang_up()
    broker.rests_until = 0.0
    broker.looks.clear()
    app.amqp.__dict__.pop("_producer_pool", None)


@pytest.fixture
def hand(server, connected, letter, monkeypatch):
    """This process as a worker of all contexts, one message at a time; no broker is slow for it, however busy the machine."""
    monkeypatch.setattr(messages, "PATIENCE", SOON)
    connected(server.url)
    with ByHand(server.url) as hand:
        yield hand


class Worker:
    """`manage.py worker`, or its parent, for some contexts; and what it says."""

    def __init__(self, folder, environment, *contexts, command=("manage.py", "worker")):
        self.log = folder / f"{id(self)}.log"
        self.contexts, self.environment, self.command = contexts, environment, command
        self.said_before = 0

    def start(self):
        self.said_before = len(self.said())
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *self.command, *self.contexts], cwd=settings.BASE_DIR, env=self.environment,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        return self

    def said(self):
        return self.log.read_text() if self.log.exists() else ""

    def says(self, what, times=1):
        """Whether it has said so, and so often, since it was started."""
        assert self.process.poll() is None, self.said()[-3000:]
        return self.said()[self.said_before :].count(what) >= times

    def await_ready(self, times=1):
        eventually(lambda: self.says(" ready.", times), patience=60)

    def signal(self, number):
        """To all of its processes, if it runs."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)

    def kill(self):
        """As a power cut would."""
        self.signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        """Ask it to stop, if it runs, be it halted; its exit status."""
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
    """A web process that rings the workers."""
    with (tmp_path_factory.mktemp("web") / "log").open("ab") as log:
        shop = RunningShop(output=log, ENGINE="celery", BROKER_URL=server.url, LOG_LEVEL="INFO")
        yield shop
        assert shop.stop() == 0


@pytest.fixture(scope="module")
def start_workers(web, tmp_path_factory):
    """Start workers with some settings, so that each context has one; all are stopped at the end."""
    started = []

    def start(*layout, **environment):
        given = web.environment | environment
        fresh = [Worker(tmp_path_factory.mktemp("workers"), given, *contexts).start() for contexts in layout]
        started.extend(fresh)
        for worker in fresh:
            worker.await_ready()
        return fresh

    yield start
    for worker in started:
        worker.stop()


@pytest.fixture
def shopper(web):
    return Shopper(web.site)


def buy(shopper):
    """A confirmed order of something fresh."""
    placed = shopper.order(stocked(1))
    assert placed.status == 201
    return placed.body


def told(order):
    """Whether the two contexts that hear of a confirmed order have done what they do then: a letter, and stock that is sold."""
    letters = rows("notifications", "SELECT template FROM notifications_message WHERE subject_id = %s", [order["id"]])
    held = rows("inventory", "SELECT status FROM inventory_reservation WHERE order_id = %s", [order["id"]])
    return [one for (one,) in letters] == ["order_confirmed"] and held == [("committed",)]


def undelivered():
    """How many deliveries of orders nobody has acknowledged."""
    [(count,)] = rows("orders", "SELECT count(*) FROM shop_delivery WHERE acknowledged_at IS NULL")
    return count
