"""One broker for all tests of the folder, and, where processes are needed, a shop whose events go through it."""

import os
import signal
import subprocess
import sys

import pytest
from django.conf import settings

from shop.database import rows
from tests.celery.brokers import BROKERS
from tests.journeys.conftest import RunningShop
from tests.shop.conftest import letter
from tests.threads import eventually

__all__ = ["letter"]

LAYOUT = (("orders", "payments", "users"), ("inventory", "notifications"))  # of two workers


@pytest.fixture(scope="package", params=BROKERS, ids=lambda kind: kind.__name__.lower())
def broker_server(request, tmp_path_factory):
    server = request.param(tmp_path_factory.mktemp("broker"))
    try:
        server.start()
        yield server
    finally:
        server.stop()


class Worker:
    """`manage.py worker` for some contexts, and what it says."""

    def __init__(self, folder, environment, *contexts, parent=False):
        self.log = folder / f"{contexts[0]}.log"
        self.contexts, self.environment = contexts, environment
        self.command = ["-m", "config.worker"] if parent else ["manage.py", "worker"]

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

    def says(self, what):
        """Whether it has said so since it was started."""
        assert self.process.poll() is None, self.said()[-3000:]
        return what in self.said()[self.said_before :]

    def await_ready(self):
        eventually(lambda: self.says(" ready."), patience=60)

    def kill(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self):
        """Ask it to stop; its exit status."""
        self.process.terminate()
        return self.process.wait(30)


class Shop:
    """Web process, workers and broker. Environment given is for all of them."""

    def __init__(self, server, folder, **environment):
        self.server, self.folder = server, folder
        given = {"ENGINE": "celery", "BROKER_URL": server.url, "LOG_LEVEL": "INFO"} | environment
        self.web = RunningShop(output=(folder / "web.log").open("ab"), **given)
        self.workers = [Worker(folder, self.web.environment, *contexts).start() for contexts in LAYOUT]
        for worker in self.workers:
            worker.await_ready()

    def stop(self):
        status = [worker.stop() for worker in self.workers if worker.process.poll() is None]
        if self.web.process.poll() is None:
            status.append(self.web.stop())
        return status


def told(order):
    """The letters about an order, and whether its stock is sold: what two contexts did when they heard of it."""
    letters = rows("notifications", "SELECT template FROM notifications_message WHERE subject_id = %s", [order["id"]])
    held = rows("inventory", "SELECT status FROM inventory_reservation WHERE order_id = %s", [order["id"]])
    return [one for (one,) in letters] == ["order_confirmed"] and held == [("committed",)]
